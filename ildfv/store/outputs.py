"""Output files named by the user: an existing file is replaced only if it is an earlier output of the same kind."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ildfv.errors import check
from ildfv.parsing import FILE_TYPES, open_regular
from ildfv.store.atomic import write_bytes

HEAD = 4096  # bytes at the start of a file that must contain its marker


def check_output(path: Path, marker: bytes, kind: str) -> None:
    """Checks that `path` does not exist, or is a file of this kind that ildfv wrote.

    Call it before the computation, so that a wrong path is reported early; `write_output` calls it again.

    Parameters
    ----------
    path
        The file that will be written.
    marker
        Bytes that occur in the first `HEAD` bytes of all files of this kind and of no other file.
    kind
        Description of such a file in error messages, such as "a report of ildfv".

    Raises
    ------
    InputError
        The path is another file, or its folder does not exist.
    """
    path = Path(path)
    check(path.parent.is_dir(), f"the folder of {path} must exist, got no folder {path.parent}")
    if not path.exists():  # a broken link is replaced
        return
    mode = path.stat().st_mode
    what = FILE_TYPES.get(stat.S_IFMT(mode), "another file")
    rule = f"{path} must be a new file or {kind}"
    check(stat.S_ISREG(mode), f"{rule}, got {what}: choose another path")
    with open_regular(path) as file:
        ours = marker in file.read(HEAD)
    check(ours, f"{rule}, got another file: choose another path, or remove this file first")


def check_folder(folder: Path) -> None:
    """Checks that `folder` is a writable folder or can be created.

    Call it before the computation, so that a wrong path is reported early.

    Raises
    ------
    InputError
        The path or one of its parents is not a folder, or is not writable.
    """
    existing = Path(folder).absolute()
    while not existing.exists() and not existing.is_symlink():
        existing = existing.parent
    where = "" if existing == Path(folder).absolute() else f" ({existing})"
    rule = f"{folder} must be a folder or a new path"
    check(existing.is_dir(), f"{rule}, got a path that is not a folder{where}: choose another folder")
    allowed = os.access(existing, os.W_OK | os.X_OK)
    check(allowed, f"{folder} must be writable, got no write permission{where}: choose another folder")


def write_output(path: Path, data: bytes, marker: bytes, kind: str) -> None:
    """Writes `data`, which contains the marker, to `path`; raises as `check_output` does."""
    check(marker in data[:HEAD], f"{kind} must have its marker {marker!r}")
    check_output(path, marker, kind)
    write_bytes(path, data)
