"""Suppression of the output of third-party readers, and formatting of their errors as one line."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Suppresses warnings and log lines of pydicom, nibabel, highdicom and GDCM; errors are still raised."""
    import pydicom  # noqa: F401  The import sets the level of its logger.

    loggers = [logging.getLogger(name) for name in ("pydicom", "nibabel.global", "highdicom")]
    before = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        if gdcm := sys.modules.get("gdcm"):  # writes to stderr from C++
            gdcm.Trace.WarningOff()
            gdcm.Trace.ErrorOff()
        try:
            yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)


def format_error(error: BaseException) -> str:
    """Type and message of an error in one line of at most 300 characters."""
    text = ": ".join(filter(None, (type(error).__name__, " ".join(str(error).split()))))
    return text if len(text) <= 300 else text[:299] + "…"
