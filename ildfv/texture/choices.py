"""The kinds of classifiers and the page of an evaluation, checked before the slow imports of the commands."""

from __future__ import annotations

from pathlib import Path

from ildfv.errors import check
from ildfv.store.outputs import check_output

HEADS = ("regression", "logistic", "svm")
MARKER = b'<meta name="generator" content="ildfv texture">'
KIND = "a page of `ildfv texture`"


def check_kind(kind: str) -> None:
    """Raises InputError unless the kind of head is known."""
    check(kind in ("auto", *HEADS), f"head must be auto or one of {', '.join(HEADS)}, got {kind!r}")


def check_page(path: str | Path) -> None:
    """Raises InputError if a page may not be written to `path`."""
    check_output(Path(path), MARKER, KIND)
