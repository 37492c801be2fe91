"""Assignment of label maps to discovered scans. Label maps without a scan or a known meaning are listed as unused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ildfv.datasets.pairing import Pairs, pair
from ildfv.datasets.records import Discovery, Label, Lost, Scan, Unused
from ildfv.datasets.structures import UNNAMED, Structures
from ildfv.scans.archives import SUFFIX as ARCHIVE
from ildfv.scans.volumefiles import SUFFIXES


def give_labels(found: Discovery, labels: Sequence[Label], lost: Sequence[Lost], structures: Structures, root: Path):
    """Adds to each scan of `found` its label maps.

    Label maps that `pair` refuses are quarantined. Masks of structures that the code table does not name are ignored.
    """
    pairs = pair(found.scans, labels, lost, root=root, is_structure=structures.is_known)
    folders_of_masks = {
        label.path.parent for maps in pairs.labels.values() for label in maps if _is_named(label, structures, root)
    }
    for label, reason in pairs.refused_labels:
        inside = label.path.relative_to(root)
        of_masks = label.path.parent in folders_of_masks and not structures.names_known(inside)
        if of_masks or structures.is_unnamed(inside):
            found.ignored.append(Unused(label.path, UNNAMED, quarantined=False))
        else:
            found.quarantined.append(Unused(label.path, reason))
    labelled = [_labelled(found, i, scan, pairs, structures, root) for i, scan in enumerate(found.scans)]
    found.scans = [scan for scan in labelled if scan is not None]


def _is_named(label: Label, structures: Structures, root: Path) -> bool:
    """Whether the file is named after a structure that has a meaning."""
    return structures.is_known(label.path.relative_to(root))


def _labelled(found: Discovery, i: int, scan: Scan, pairs: Pairs, structures: Structures, root: Path) -> Scan | None:
    """The scan with its label maps; None if it was quarantined."""
    labels = pairs.labels.get(i, [])
    resolved = [(label, structures.resolved(label, scan, root)) for label in labels]
    used = [label for _, label in resolved if isinstance(label, Label)]
    if not used:  # a segmentation without any meaningful segment is kept, so that the reader reports its segments
        used = [label for label, reason in resolved if label.segments]
    for label, reason in resolved:
        if isinstance(reason, str) and label not in used:
            found.ignored.append(Unused(label.path, reason, quarantined=False))
    paths = {label.path for label in used}
    if faults := [reason for label, reason in pairs.refused_scans.get(i, []) if label.path in paths]:
        files = len(scan.files) + len(used)
        found.quarantined.append(Unused(scan.source, faults[0], files, scan.series))
        return None
    return replace(scan, labels=tuple(sorted(used, key=lambda label: str(label.path))))


def lost_scans(found: Discovery, root: Path) -> list[Lost]:
    """The quarantined scans: volume files, series, archives, unreadable folders, and folders without usable DICOM.

    A damaged DICOM file in the folder of a usable series is a missing slice of that series, not another scan.
    """
    usable = {path.parent for scan in found.scans for path in scan.files if scan.dicom is not None}
    lost: dict[Path, Lost] = {}
    for unused in found.quarantined:
        path = unused.source
        if unused.series:
            folder = path if path.is_dir() else path.parent
            lost.setdefault(folder, Lost(folder, unused.reason, True, unused.series))
        elif path.name.lower().endswith(ARCHIVE):  # pairing treats it as a folder
            lost.setdefault(path, Lost(path, unused.reason, True))
        elif path.name.lower().endswith(SUFFIXES):
            lost.setdefault(path, Lost(path, unused.reason, False))
        elif not unused.files:  # a folder that cannot be listed
            lost.setdefault(path, Lost(path, unused.reason, True))
        elif path.parent not in usable:
            lost.setdefault(path.parent, Lost(path.parent, unused.reason, True))
    return [one for one in lost.values() if one.source.is_relative_to(root)]
