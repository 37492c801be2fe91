"""The files of a folder and its subfolders. Links to folders are followed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ildfv.datasets.records import Discovery, Unused
from ildfv.errors import InputError


def check_scans(root: Path) -> None:
    """Raises `InputError`, as `discover` would, if `root` does not exist or contains no file."""
    root, found = Path(root), Discovery()
    _check_exists(root)
    if not root.is_file():
        _check_any(root, next(_walk(root, found), None) is not None, found)


def files_below(root: Path, found: Discovery) -> list[Path]:
    """All files below `root`, sorted, or only `root` if it is a file. Adds folders that are not searched to `found`.

    Links to folders are followed and may form cycles: a folder that is reached twice is searched once, at its real path
    if this path is below `root`. Raises `InputError` if `root` does not exist or contains no file.
    """
    _check_exists(root)
    if root.is_file():
        return [root]
    files = sorted(_walk(root, found), key=lambda path: path.parts)  # the order of paths, but faster
    _check_any(root, bool(files), found)
    return files


def _check_exists(root: Path) -> None:
    if not root.exists():
        raise InputError(f"scans must be an existing folder or file, got {root}, which does not exist")


def _check_any(root: Path, any_file: bool, found: Discovery) -> None:
    if not any_file and not found.quarantined:
        raise InputError(f"scans must contain at least one file, got an empty folder: {root}")


def _walk(root: Path, found: Discovery) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        found.quarantined.append(Unused(Path(error.filename), f"must be readable, got {error.strerror}", 0))

    above = {_identity(folder) for folder in root.resolve().parents}
    seen: set[tuple[int, int]] = set()
    tops = [root]
    while tops:
        top, links = tops.pop(0), []
        for folder, folders, names in os.walk(top, onerror=refuse):
            here = _identity(Path(folder))
            if here in seen:
                folders.clear()
                if Path(folder) != root and Path(folder) == top:
                    reason = "a link to a folder that is searched under another path"
                    found.ignored.append(Unused(top, reason, 0, quarantined=False))
                continue
            seen.add(here)
            yield from (Path(folder, name) for name in names)
            links += sorted(path for name in folders if (path := Path(folder, name)).is_symlink())
        for link in links:
            if _identity(link) in above:
                reason = "a link to a parent folder, which is not followed"
                found.ignored.append(Unused(link, reason, 0, quarantined=False))
            else:
                tops.append(link)


def _identity(folder: Path) -> tuple[int, int]:
    """Device and inode, which all paths of one folder share."""
    status = folder.stat()
    return status.st_dev, status.st_ino
