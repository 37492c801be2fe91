"""Files that a user names as output: an existing file is replaced only if it is an earlier output of the same kind."""

from __future__ import annotations

import stat
from pathlib import Path

from ildfv.errors import check
from ildfv.parsing import FILE_TYPES, open_regular
from ildfv.store.atomic import write_bytes

HEAD = 4096  # bytes of a file in which its marker must be


def check_output(path: Path, marker: bytes, kind: str) -> None:
    """Nothing if `path` may be written: it does not exist, or it is a file of this kind that ildfv wrote.

    Call it before the work, so that a wrong path is found at once; `write_output` calls it again.

    Parameters
    ----------
    path
        The file that will be written.
    marker
        What the first `HEAD` bytes of all files of this kind contain, and no other file's.
    kind
        How messages call such a file, such as "a report of ildfv".

    Raises
    ------
    InputError
        Anything else is there, or there is no folder to write to.
    """
    path = Path(path)
    check(path.parent.is_dir(), f"{path} must be in a folder that exists, got {path.parent}")
    if not path.exists():  # a link to nothing is replaced itself
        return
    mode = path.stat().st_mode
    what = FILE_TYPES.get(stat.S_IFMT(mode), "another file")
    rule = f"{path} must be a new file or {kind}"
    check(stat.S_ISREG(mode), f"{rule}, got {what}: name another file")
    with open_regular(path) as file:
        ours = marker in file.read(HEAD)
    check(ours, f"{rule}, got another file: name a new one, or remove this one first")


def write_output(path: Path, data: bytes, marker: bytes, kind: str) -> None:
    """The file `path` holding `data`, which has the marker; errors as of `check_output`."""
    check(marker in data[:HEAD], f"{kind} must have its marker {marker!r}")
    check_output(path, marker, kind)
    write_bytes(path, data)
