"""Scans in zip archives, unpacked into a temporary folder that is searched instead of the input.

Each archive becomes a folder. If an archive contains only a folder with the name of the archive, the content of this
folder is used. All other files become links, so that `p1.zip` and `p1_label.nii.gz` are paired like a folder and a
file. Reports contain the paths of the input: `scans/p1.zip/IM0001.dcm`.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ildfv.datasets.records import Discovery, Unused
from ildfv.datasets.search import files_below
from ildfv.errors import InputError
from ildfv.progress import SILENT, Progress
from ildfv.scans.archives import extract, extracted, is_archive

MACOS_FOLDER = "__MACOSX"  # folder of an archive in which macOS keeps attributes of its files


@dataclass(frozen=True)
class Unpacked:
    """The folder that is searched instead of `scans`, and the unusable input in it that is already known."""

    scans: Path
    folder: Path
    found: Discovery = field(default_factory=Discovery)

    def original(self, path: Path) -> Path:
        """The path in the input that corresponds to a path below `folder`. Other paths are returned unchanged."""
        return self.scans / path.relative_to(self.folder) if path.is_relative_to(self.folder) else path

    def shown(self, document: Any) -> Any:
        """The JSON values, with paths below `folder` replaced by paths of the input."""
        if self.scans == self.folder:
            return document
        match document:
            case str():
                return document.replace(str(self.folder), str(self.scans))
            case dict():
                return {name: self.shown(value) for name, value in document.items()}
            case list() | tuple():
                return [self.shown(value) for value in document]
        return document


@contextmanager
def unpacked(scans: Path, *, packed: bool, progress: Progress = SILENT) -> Iterator[Unpacked]:
    """The input with its archives unpacked. The unpacked files are removed at the end of the context.

    scans: a folder, or a file. An archive given as `scans` is always unpacked, archives in a folder only if `packed`.
    Refused archives are listed in `found`. Raises `InputError` if `scans` is an archive that is refused.
    """
    if is_archive(scans):
        with extracted(scans) as folder:
            only = _only_folder(folder, scans)
            yield Unpacked(scans, folder) if only is None else Unpacked(scans / only.name, only)
        return
    archives: list[Path] = []
    found = Discovery()
    if packed and scans.is_dir():
        files = files_below(scans, found)
        archives = [path for path in files if is_archive(path)]
    if not archives:
        yield Unpacked(scans, scans)
        return
    with tempfile.TemporaryDirectory(prefix="ildfv-", ignore_cleanup_errors=True) as temporary:
        view = Unpacked(scans, Path(temporary))
        for entries, given in ((view.found.quarantined, found.quarantined), (view.found.ignored, found.ignored)):
            entries += [
                Unused(view.folder / one.source.relative_to(scans), one.reason, one.files, quarantined=one.quarantined)
                for one in given
            ]
        _link(files, set(archives), view)
        with progress.task("Unpacking archives", total=len(archives)) as advance:
            for archive in archives:
                folder = view.folder / archive.relative_to(scans)
                folder.mkdir(parents=True)
                try:
                    extract(archive, folder)
                    _move_up(folder, archive)
                except (InputError, OSError) as error:
                    reason = f"must be readable, got {error.strerror or error}" if isinstance(error, OSError) else error
                    shutil.rmtree(folder)  # files unpacked before the error
                    view.found.quarantined.append(Unused(folder, str(reason)))
                advance(1)
        yield view


def _only_folder(folder: Path, archive: Path) -> Path | None:
    """The folder in an unpacked archive, if it contains nothing else and has the name of the archive."""
    inside = [path for path in folder.iterdir() if path.name != MACOS_FOLDER]
    return inside[0] if len(inside) == 1 and inside[0].is_dir() and inside[0].name == archive.stem else None


def _move_up(folder: Path, archive: Path) -> None:
    """Moves the content of the folder that `_only_folder` returns, if there is one, to `folder`."""
    if (only := _only_folder(folder, archive)) is not None:
        holder = only.rename(folder / f"{MACOS_FOLDER}{only.name}")  # a name that does not occur in its content
        for path in holder.iterdir():
            path.rename(folder / path.name)
        holder.rmdir()


def _link(files: list[Path], archives: set[Path], view: Unpacked) -> None:
    """Creates the folders of the input below `view.folder`, with links to all files except archives."""
    folders = set()
    for path in files:
        if path not in archives:
            link = view.folder / path.relative_to(view.scans)
            if link.parent not in folders:
                link.parent.mkdir(parents=True, exist_ok=True)
                folders.add(link.parent)
            link.symlink_to(path.absolute())
