"""The file of a report, checked before the slow imports of the command."""

from __future__ import annotations

from pathlib import Path

from ildfv.store.outputs import check_output

MARKER = b'<meta name="generator" content="ildfv report">'
KIND = "a page written by ildfv"


def check_page(path: str | Path) -> None:
    """Raises InputError if `path` exists and is not a page written by ildfv, which must not be overwritten."""
    check_output(Path(path), MARKER, KIND)
