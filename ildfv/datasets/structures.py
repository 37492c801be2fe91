"""Masks of one structure, identified by name: nonzero voxels of `ground_glass.nii.gz` show ground glass.

A mask of lungs, lobes or vessels contains small integers like any label map, and the section [codes] of the code table
would translate its value 1 to a pattern. Therefore a label map that is named after a structure is used only if the code
table contains this name. A structure has a meaning if the section [segments] of the code table states it, or if the
structure is one of `MEANINGS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePath

from ildfv.datasets.naming import (
    KIND_WORDS,
    STRUCTURE_WORDS,
    PathName,
    content_words,
    in_label_folder,
    label_folder,
    label_name,
    path_name,
    series_name,
    stem,
    words,
)
from ildfv.datasets.records import Label, Scan, Unused, VolumeFile
from ildfv.scans.headers import Header
from ildfv.scans.labels import MEANINGS, OUTSIDE, Codes

REGION_WORDS = frozenset(["left", "right", "upper", "middle", "lower", "l", "r", "lung", "lungs", "lobe", "lobes"])
UNNAMED = "a mask of a structure that [segments] of the code table does not name"
NO_SEGMENT_NAMED = "a segmentation without any segment that [segments] of the code table names"


class Structures:
    """The structures in a code table, and the structure that a label map shows."""

    def __init__(self, codes: Codes | None):
        self._codes = codes
        listed = [] if codes is None else codes.segments
        self._listed = {words(name): name for name in listed}
        self._known = self._listed | {words(name): name for name in MEANINGS if name != OUTSIDE and codes is not None}

    def is_mask(self, path: PurePath) -> bool:
        """Whether a file name ends with a structure of [segments]. path: relative to the searched folder."""
        return bool(_at_end(_content(path), self._listed))

    def folder_of(self, path: PurePath) -> str:
        """The folder on a path that is named only after a structure, such as GGO or ground_glass_masks; or ""."""
        for folder in reversed(path.parent.parts):
            own = tuple(word for word in words(folder) if word not in KIND_WORDS)
            if own and (own in self._listed or set(own) <= STRUCTURE_WORDS):
                return folder
        return ""

    def by_folder(self, volumes: Sequence[VolumeFile], series: Iterable[Path], root: Path) -> list[Label]:
        """The volumes that are label maps because they are in a folder of one structure.

        A folder of scans may be named after the diagnosis of the patients. Therefore a folder contains label maps only
        if a scan outside such folders has the same path without this folder: GGO/anna.nii.gz and anna.nii.gz.
        """
        insides = [(volume, volume.path.relative_to(root)) for volume in volumes]
        folders = [(volume, inside, self.folder_of(inside)) for volume, inside in insides]
        outside = {_joined(path_name(inside)) for _, inside, folder in folders if not folder}
        outside |= {series_name(folder.relative_to(root)).place for folder in series}
        outside.discard(())  # a scan without place and name is no evidence
        named = [one for one in folders if one[2]]
        of_maps = {
            (inside.parent, folder) for _, inside, folder in named if _joined(label_name(inside, folder)) in outside
        }
        return [
            Label(volume.path, volume.kind, volume.geometry, folder=folder)
            for volume, inside, folder in named
            if (inside.parent, folder) in of_maps
        ]

    def is_known(self, path: PurePath) -> bool:
        """Whether the name of a file in a folder of label maps consists only of a structure with a meaning.

        Words for the location may precede the structure: left_lung_GGO shows GGO.
        """
        content = _content(path)
        found = _at_end(content, self._known)
        return in_label_folder(path) and bool(found) and set(content[: -len(words(found))]) <= REGION_WORDS

    def is_unnamed(self, path: PurePath) -> bool:
        """Whether a file in a folder of label maps is named after a structure without a meaning."""
        content = _content(path)
        if self._codes is None or not in_label_folder(path) or self.names_known(path):
            return False
        return not STRUCTURE_WORDS.isdisjoint(content)

    def names_known(self, path: PurePath) -> bool:
        """Whether a file name ends with a structure that has a meaning."""
        return bool(_at_end(_content(path), self._known))

    def faulty_contours(self, header: Header) -> str:
        """The reason why no contour of an RT Structure Set can be used; "" if there are usable contours."""
        if header.problem or header.segmented is None:
            return header.problem or ""
        names = header.segmented.segments
        if self._codes is None or not any(map(self._codes.knows, names)):
            shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
            rule = "RT Structure Set: [segments] of the code table must name one of its structures"
            return f"{rule}, got {shown or 'an object without structures'}"
        return ""

    def unnamed_contours(self, header: Header) -> list[Unused]:
        """An entry for the structures of an RT Structure Set that are not used."""
        assert self._codes is not None
        assert header.segmented is not None
        names = [name for name in header.segmented.segments if not self._codes.knows(name)]
        reason = f"contours of structures that [segments] of the code table does not name: {', '.join(names)}"
        return [Unused(header.path, reason, 0, quarantined=False)] if names else []

    def resolved(self, label: Label, scan: Scan, root: Path) -> Label | str:
        """The label map, with its structure if it shows only one; or the reason why it is not used.

        Words that are also in the name of the scan do not name a structure: `lung1_label.nrrd` belongs to `lung1.nrrd`.
        """
        if self._codes is None or label.fault:
            return label
        if label.segments:
            return label if any(map(self._codes.knows, label.segments)) else NO_SEGMENT_NAMED
        scan_words = (
            _content(PurePath(scan.source.name))
            if len(scan.files) == 1 or scan.dicom is None
            else words(scan.source.name)
        )
        content = _content(label.path.relative_to(root))
        rest = list(content)
        for word in scan_words:
            if word in rest:
                rest.remove(word)
        if STRUCTURE_WORDS.isdisjoint(rest) and not _at_end(tuple(rest), self._known):  # lung_masks/p1.nii.gz
            folder = label.folder or label_folder(label.path.relative_to(root)) or ""
            rest = [word for word in words(folder) if word not in KIND_WORDS]
        if structure := _at_end(tuple(rest), self._known):
            return replace(label, structure=structure)
        if STRUCTURE_WORDS.isdisjoint(rest) or self._codes.shift:  # with a shift (`Codes`), the values state the tissue
            return label
        return UNNAMED


def _joined(named: PathName) -> tuple[str, ...]:
    """Place and name, without a name that repeats the place, as in anna/anna.nii.gz."""
    return (*named.place, named.name) if named.name and named.name not in named.place[-1:] else named.place


def _content(path: PurePath) -> tuple[str, ...]:
    """The words of a file name that describe content (`naming.content_words`)."""
    return content_words(stem(path.name))


def _at_end(content: tuple[str, ...], names: dict[tuple[str, ...], str]) -> str:
    """The longest of the names that the content ends with, or ""."""
    return next((names[content[i:]] for i in range(len(content)) if content[i:] in names), "")
