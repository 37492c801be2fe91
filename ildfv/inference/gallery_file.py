"""The file of a page of pictures. Commands check its path first, before slow imports and computations."""

from __future__ import annotations

from pathlib import Path

from ildfv.store.outputs import check_output, write_output

MARKER = b'<meta name="generator" content="ildfv gallery">'
KIND = "a page of `ildfv similar` or `ildfv components`"


def check_gallery(path: str | Path) -> None:
    """Raises InputError if `path` is an existing file of another kind, or its folder does not exist."""
    check_output(Path(path), MARKER, KIND)


def write_gallery(path: str | Path, page: str) -> None:
    """Writes the page atomically. InputError: as in `check_gallery`."""
    write_output(Path(path), page.encode(), MARKER, KIND)
