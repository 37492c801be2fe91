"""The files and folders that the rows of a label file name.

A name is a path relative to the CSV file or to the folder of the scans. If neither exists, it is the end of a path in
the folder of the scans, with or without the suffix: `slice7` names `SCANS/a/slice7.tiff` if no other file or folder is
called slice7, regardless of case.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from ildfv.datasets.label_columns import FILE, SCAN
from ildfv.datasets.label_file import LabelFile
from ildfv.datasets.records import Discovery
from ildfv.datasets.search import files_below
from ildfv.errors import check

MANY = 3  # number of paths in a message


def located(labels: LabelFile, scans: Path) -> LabelFile:
    """The label file with the path of each row. scans: the folder of the scans, or one file.

    If no file or folder has a name, the name is taken as a path relative to the CSV file. Raises `InputError` if a name
    is the end of several paths; the message names the line.
    """
    if labels.scan not in (FILE, SCAN):
        return labels
    folder = scans if scans.is_dir() else scans.parent
    found: dict[str, Path] = {}
    ends: Mapping[str, list[Path]] | None = None
    for row in labels.rows:
        if row.name in found or (labels.folder / row.name).exists():
            continue
        if (folder / row.name).exists():
            found[row.name] = (folder / row.name).resolve()
            continue
        if ends is None:
            ends = _paths_by_end(scans) if scans.is_dir() else {}
        paths = ends.get(_end(row.name), [])
        names = ", ".join(str(path.relative_to(folder)) for path in paths[:MANY])
        check(
            len(paths) <= 1,
            f"{labels.path}, line {row.line}: {labels.scan} must name one path, got {row.name!r}, which may be {names}"
            f"{' …' * (len(paths) > MANY)}: write more of the path, as in {names.split(', ')[0]}",
        )
        if paths:
            found[row.name] = paths[0].resolve()
    return replace(labels, paths=found)


def check_named(labels: LabelFile) -> None:
    """Raises `InputError` if the file or folder of a row does not exist."""
    for row in labels.rows if labels.scan in (FILE, SCAN) else ():
        rule = f"{labels.path}, line {row.line}: {labels.scan} must exist, got {row.name!r}"
        check(labels.named(row).exists(), f"{rule}; {labels.base}")


def _paths_by_end(scans: Path) -> dict[str, list[Path]]:
    """All files and folders below `scans` by each end of their paths, for files with and without the suffix."""
    files = files_below(scans, Discovery())
    folders = {path for file in files for path in file.parents if path != scans and path.is_relative_to(scans)}
    found: dict[str, list[Path]] = defaultdict(list)
    for path in (*files, *sorted(folders)):
        inside = path.relative_to(scans)
        names = {inside} if path in folders else {inside, inside.with_name(_stem(path.name))}
        for name in names:
            for start in range(len(name.parts)):
                found[_end("/".join(name.parts[start:]))].append(path)
    return found


def _stem(name: str) -> str:
    """A file name without its suffix, or without both in names such as ct.nii.gz. A name that is a suffix is kept."""
    return PurePosixPath(name.removesuffix(".gz")).stem


def _end(name: str) -> str:
    """A relative path without a leading "./" and a final "/", in lower case, as Windows compares names."""
    return PurePosixPath(name).as_posix().casefold()
