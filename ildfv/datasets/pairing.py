"""Which label map belongs to which scan.

A NIfTI or NRRD file is a label map if one of the words in its name says so: label, labels, labelmap, seg, segmentation
or lm (`labels.nii.gz`, `lung1_label.nrrd`, `lm-64.nrrd`, `chestLabelMap.nrrd`). It belongs to a scan in its own folder,
or in a folder directly inside that one, whose grid it shares (shape, and voxels within a tenth of a voxel). If it
shares several scans' grid, the one with its name wins, label words and ct, image, img, scan, volume, vol left out; else
the only NIfTI or NRRD file beside it, as a conversion is what its label map was drawn on. A DICOM SEG belongs to the
series that it references, wherever it lies.

What does not come out with one answer is not guessed: a scan whose only label map has another grid or cannot be read,
or with two label maps, is quarantined with them; a label map that fits none or several of many scans is quarantined
alone.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from ildfv.datasets.records import Label, Scan
from ildfv.scans.geometry import difference

LABEL_WORDS = {"label", "labels", "labelmap", "lm", "seg", "segmentation"}
SCAN_WORDS = {"ct", "image", "img", "scan", "volume", "vol"}


def words(name: str) -> list[str]:
    """The words of a file name without its suffixes, lower case: "chestLabelMap-2.nii.gz" → chest, label, map, 2."""
    stem = re.sub(r"(\.nii|\.nrrd|\.dcm)?(\.gz)?$", "", name, flags=re.IGNORECASE)
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", stem)]


def is_label_name(name: str) -> bool:
    """Whether a file name says that the file is a label map."""
    return not LABEL_WORDS.isdisjoint(words(name))


def pair(
    scans: Sequence[Scan], labels: Sequence[Label]
) -> tuple[dict[int, Label], dict[int, tuple[str, int]], list[tuple[Label, str]]]:
    """Label map by index of scan; (reason, number of its label maps) by index of refused scan; refused label maps.

    The rule is the module's docstring.
    """
    by_series = {scan.series: i for i, scan in enumerate(scans) if scan.dicom is not None}
    by_folder: dict[Path, list[int]] = defaultdict(list)
    for i, scan in enumerate(scans):
        for folder in {_folder(scan), _folder(scan).parent}:  # the folder "." is its own parent
            by_folder[folder].append(i)
    given: dict[int, list[Label]] = defaultdict(list)
    faults: dict[int, str] = {}
    refused: list[tuple[Label, str]] = []
    for label in labels:
        if label.kind == "dicom":
            index, reason = _by_reference(by_series, label)
        else:
            index, reason = _by_grid(scans, by_folder[label.path.parent], label)
        if index is None:
            refused.append((label, reason))
            continue
        given[index].append(label)
        if reason:
            faults[index] = reason
    for index, found in given.items():
        if len(found) > 1:
            names = ", ".join(sorted(label.path.name for label in found))
            faults[index] = f"a scan must have one label map, got {names}"
    chosen = {index: found[0] for index, found in given.items() if index not in faults}
    return chosen, {index: (reason, len(given[index])) for index, reason in faults.items()}, refused


def _by_reference(by_series: dict[str, int], label: Label) -> tuple[int | None, str]:
    found = [by_series[series] for series in label.referenced if series in by_series]
    if len(found) == 1:
        return found[0], ""
    return None, f"a DICOM SEG must reference one series that is here and usable, got {len(found)}"


def _by_grid(scans: Sequence[Scan], near: list[int], label: Label) -> tuple[int | None, str]:
    """The scan's index, and what is wrong with the pair if it is only known to belong together by place or name."""

    def fault(i: int) -> str | None:
        if label.geometry is None:
            return f"cannot be read: {label.fault}"
        return difference(scans[i].geometry, label.geometry)

    fits = [i for i in near if fault(i) is None]
    own = _kernel(label.path.name)
    named = [i for i in (fits or near) if _name(scans[i]) and _name(scans[i]) == own]
    beside = [i for i in fits if scans[i].dicom is None and _folder(scans[i]) == label.path.parent]
    for chosen in (fits, named, beside, near):
        if len(chosen) == 1:
            wrong = fault(chosen[0])
            return chosen[0], f"label map {label.path.name} {wrong}" if wrong else ""
    if label.fault:
        return None, label.fault
    if not near:
        return None, "a label map must lie beside its scan or one folder above, got no usable scan there"
    what = "none" if not fits else f"{len(fits)}, which names do not tell apart: give it its scan's name or folder"
    return None, f"a label map must share the grid of one scan, got {len(near)} scans near and the grid of {what}"


def _folder(scan: Scan) -> Path:
    return scan.source if len(scan.files) > 1 else scan.source.parent


def _name(scan: Scan) -> tuple[str, ...]:
    return () if len(scan.files) > 1 else _kernel(scan.source.name)


def _kernel(name: str) -> tuple[str, ...]:
    return tuple(word for word in words(name) if word not in LABEL_WORDS | SCAN_WORDS | {"map"})
