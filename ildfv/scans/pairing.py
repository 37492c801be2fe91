"""Which label map belongs to which scan.

A NIfTI or NRRD file is a label map if one of the words in its name says so: label, labels, labelmap, seg, segmentation
or lm (`labels.nii.gz`, `lung1_label.nrrd`, `lm-64.nrrd`, `chestLabelMap.nrrd`). It belongs to a scan in its own folder,
or in a folder directly inside that one, whose grid it shares (shape, and voxels within a tenth of a voxel). If it
shares several scans' grid, the one with its name wins, label words and ct, image, img, scan, volume, vol left out. A
DICOM SEG belongs to the series that it references, wherever it lies.

What does not come out with one answer is not guessed: a scan whose only label map has another grid, or with two label
maps, is quarantined with them; a label map that fits none or several of many scans is quarantined alone.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ildfv.scans.geometry import Geometry, difference

if TYPE_CHECKING:
    from ildfv.scans.discover import Scan

LABEL_WORDS = {"label", "labels", "labelmap", "lm", "seg", "segmentation"}
SCAN_WORDS = {"ct", "image", "img", "scan", "volume", "vol"}


@dataclass(frozen=True)
class Label:
    """A label map found: a volume file with its canonical grid, or a DICOM SEG with the series it references."""

    path: Path
    kind: str  # "nifti", "nrrd" or "dicom"
    geometry: Geometry | None = None
    referenced: tuple[str, ...] = ()


def words(name: str) -> list[str]:
    """The words of a file name without its suffixes, lower case: "chestLabelMap-2.nii.gz" → chest, label, map, 2."""
    stem = re.sub(r"(\.nii|\.nrrd)?(\.gz)?$", "", name, flags=re.IGNORECASE)
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
    given: dict[int, list[Label]] = defaultdict(list)
    faults: dict[int, str] = {}
    refused: list[tuple[Label, str]] = []
    for label in labels:
        scan, reason = _by_reference(scans, label) if label.kind == "dicom" else _by_grid(scans, label)
        if scan is None:
            refused.append((label, reason))
            continue
        given[scan].append(label)
        if reason:
            faults[scan] = reason
    for scan, found in given.items():
        if len(found) > 1:
            faults[scan] = (
                f"a scan must have one label map, got {', '.join(sorted(label.path.name for label in found))}"
            )
    chosen = {scan: found[0] for scan, found in given.items() if scan not in faults}
    return chosen, {scan: (reason, len(given[scan])) for scan, reason in faults.items()}, refused


def _by_reference(scans: Sequence[Scan], label: Label) -> tuple[int | None, str]:
    found = [i for i, scan in enumerate(scans) if scan.dicom is not None and scan.series in label.referenced]
    if len(found) == 1:
        return found[0], ""
    return None, f"a DICOM SEG must reference one series that is here and usable, got {len(found)}"


def _by_grid(scans: Sequence[Scan], label: Label) -> tuple[int | None, str]:
    """The scan's index, and what is wrong with the pair if it is only known to belong together by place or name."""
    here = label.path.parent
    near = [i for i, scan in enumerate(scans) if here in (_folder(scan), _folder(scan).parent)]
    if not near:
        return None, "a label map must lie beside its scan or one folder above, got no usable scan there"
    fits = [i for i in near if difference(scans[i].geometry, label.geometry) is None]
    named = [i for i in (fits or near) if _name(scans[i]) and _name(scans[i]) == _kernel(label.path.name)]
    if len(fits) == 1:
        return fits[0], ""
    if len(named) == 1 or len(near) == 1:
        scan = named[0] if len(named) == 1 else near[0]
        fault = difference(scans[scan].geometry, label.geometry)
        return scan, f"label map {label.path.name} {fault}" if fault else ""
    what = "none" if not fits else f"{len(fits)}, which names do not tell apart"
    return None, f"a label map must share the grid of one scan, got {len(near)} scans near and the grid of {what}"


def _folder(scan: Scan) -> Path:
    return scan.source if scan.dicom is not None else scan.source.parent


def _name(scan: Scan) -> tuple[str, ...]:
    return () if scan.dicom is not None else _kernel(scan.source.name)


def _kernel(name: str) -> tuple[str, ...]:
    return tuple(word for word in words(name) if word not in LABEL_WORDS | SCAN_WORDS | {"map"})
