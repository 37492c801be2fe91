"""The position of a file in a folder, with which users can find the file if its name is not printed."""

from __future__ import annotations

import os
from pathlib import Path


class FilePositions:
    """The positions of files in their folders. Each folder is listed only once."""

    def __init__(self) -> None:
        self._files: dict[Path, list[Path]] = {}

    def of(self, file: Path, folder: Path) -> int | None:
        """The position of `file` among all files below `folder`, from 1.

        If `file` is a folder, the result is the position of the first file in this folder. The order is that of the
        bytes of the paths, as of `find FOLDER ! -type d | LC_ALL=C sort`. None if `folder` is not a folder, or `file`
        is not below it.
        """
        if folder not in self._files:
            self._files[folder] = _files_below(folder)
        return next((n for n, one in enumerate(self._files[folder], 1) if one.is_relative_to(file)), None)


def _files_below(folder: Path) -> list[Path]:
    found = []
    for top, folders, files in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(top, name))]
        found += [Path(top, name) for name in (*files, *links)]
    return sorted(found, key=os.fsencode)
