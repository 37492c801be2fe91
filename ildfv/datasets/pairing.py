"""The assignment of label maps to scans.

A NIfTI or NRRD file is a label map if its name contains one of the words label, labels, labelmap, seg, segmentation or
lm (`labels.nii.gz`, `lung1_label.nrrd`, `lm-64.nrrd`, `chestLabelMap.nrrd`). Its scan is in the same folder or in a
direct subfolder, and has the same grid (shape, and positions within a tenth of a voxel). If several scans have that
grid, it is the one with the same name, ignoring the label words and ct, image, img, scan, volume, vol; otherwise the
only NIfTI or NRRD scan in the same folder, because label maps of a converted scan are drawn on the conversion. A DICOM
SEG belongs to the series that it references, in whichever folder.

Ambiguous cases are refused. A scan with two label maps, or whose only label map has another grid or cannot be read, is
quarantined with its label maps. A label map that fits none or several of many scans is quarantined alone.
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
    """The words of a file name without suffixes, in lower case: "chestLabelMap-2.nii.gz" → chest, label, map, 2."""
    stem = re.sub(r"(\.nii|\.nrrd|\.dcm)?(\.gz)?$", "", name, flags=re.IGNORECASE)
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", stem)]


def is_label_name(name: str) -> bool:
    """Whether a file name contains a label word."""
    return not LABEL_WORDS.isdisjoint(words(name))


def pair(
    scans: Sequence[Scan], labels: Sequence[Label]
) -> tuple[dict[int, Label], dict[int, tuple[str, int]], list[tuple[Label, str]]]:
    """Label map by index of scan; (reason, number of label maps) by index of refused scan; refused label maps.

    The docstring of the module states the rules.
    """
    by_series = {scan.series: i for i, scan in enumerate(scans) if scan.dicom is not None}
    by_folder: dict[Path, list[int]] = defaultdict(list)
    for i, scan in enumerate(scans):
        for folder in {_folder(scan), _folder(scan).parent}:  # a set, because the folder "." is its own parent
            by_folder[folder].append(i)
    assigned: dict[int, list[Label]] = defaultdict(list)
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
        assigned[index].append(label)
        if reason:
            faults[index] = reason
    for index, found in assigned.items():
        if len(found) > 1:
            names = ", ".join(sorted(label.path.name for label in found))
            faults[index] = f"a scan must have one label map, got {names}"
    chosen = {index: found[0] for index, found in assigned.items() if index not in faults}
    return chosen, {index: (reason, len(assigned[index])) for index, reason in faults.items()}, refused


def _by_reference(by_series: dict[str, int], label: Label) -> tuple[int | None, str]:
    found = [by_series[series] for series in label.referenced if series in by_series]
    if len(found) == 1:
        return found[0], ""
    return None, f"a DICOM SEG must reference one usable series of the input, got {len(found)}"


def _by_grid(scans: Sequence[Scan], near: list[int], label: Label) -> tuple[int | None, str]:
    """The index of the scan, and the fault of the pair if only folder or name assigns the label map to it."""

    def fault(i: int) -> str | None:
        if label.geometry is None:
            return f"cannot be read: {label.fault}"
        return difference(scans[i].geometry, label.geometry)

    fits = [i for i in near if fault(i) is None]
    own = _distinctive_words(label.path.name)
    named = [i for i in (fits or near) if _name(scans[i]) and _name(scans[i]) == own]
    same_folder = [i for i in fits if scans[i].dicom is None and _folder(scans[i]) == label.path.parent]
    for chosen in (fits, named, same_folder, near):
        if len(chosen) == 1:
            wrong = fault(chosen[0])
            return chosen[0], f"label map {label.path.name} {wrong}" if wrong else ""
    if label.fault:
        return None, label.fault
    if not near:
        return None, "a label map must be in the folder of its scan or one folder above, got no usable scan there"
    remedy = ": rename it after its scan, or move both to one folder" if fits else ""
    return None, f"a label map must have the grid of one scan, got {len(fits)} of {len(near)} scans near it{remedy}"


def _folder(scan: Scan) -> Path:
    return scan.source if len(scan.files) > 1 else scan.source.parent


def _name(scan: Scan) -> tuple[str, ...]:
    return () if len(scan.files) > 1 else _distinctive_words(scan.source.name)


def _distinctive_words(name: str) -> tuple[str, ...]:
    return tuple(word for word in words(name) if word not in LABEL_WORDS | SCAN_WORDS | {"map"})
