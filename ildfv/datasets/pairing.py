"""Assignment of label maps to scans. The rule is explained with pictures in docs/layouts.md.

A label map is assigned to a scan only if there is evidence in addition to its grid:

1.  a DICOM SEG or RT Structure Set references the series or, without a reference, has its frame of reference (and a
    SEG also its slices); or the file name contains the SeriesInstanceUID. The other rules are for volume files whose
    names contain no such UID:
2.  the label map has the place and name of the scan (see `naming`): p1/t0.nii.gz and p1/t0_label.nii.gz, imagesTr and
    labelsTr;
3.  the label map is named like the folder of the scan: p1_label.nii.gz next to p1/;
4.  the label map has no specific name (labels.nii.gz, or lobes.nii.gz next to a scan without a name), and the scan is
    in the same folder, in a direct subfolder, or anywhere below if there is no other scan; or the label map is named
    after a structure in the code table and is in a folder of label maps (segmentations/emphysema.nii.gz), and the scan
    in the folder above has no specific name.

The scan must have the grid of the label map (shape, and positions within `geometry.tolerance`); a segmentation of 3D
Slicer may cover a part of that grid. If a rule allows several scans, the label map belongs to the only scan that has
its grid. If several scans have it, or if one of the scans could not be read, the label map is refused: follow-up scans
and reconstructions often have one grid, so the grid alone is not evidence.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from ildfv.counted import counted
from ildfv.datasets.naming import (
    SCAN_WORDS,
    PathName,
    label_name,
    path_name,
    reduced,
    series_name,
    stem,
    uids,
    unqualified,
    words,
)
from ildfv.datasets.records import Label, Lost, Scan
from ildfv.datasets.references import TABLE, by_reference
from ildfv.errors import linked
from ildfv.scans.geometry import difference
from ildfv.scans.slicer import placed


@dataclass
class Pairs:
    """Label maps by index of their scan, label maps whose scan is refused, and label maps without a scan."""

    labels: dict[int, list[Label]] = field(default_factory=lambda: defaultdict(list))
    refused_scans: dict[int, list[tuple[Label, str]]] = field(default_factory=lambda: defaultdict(list))
    refused_labels: list[tuple[Label, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Candidate:
    """A scan that a label map may belong to. index: None if the scan cannot be used because of `fault`."""

    index: int | None
    source: Path
    named: PathName
    folder: Path
    fault: str = ""


def pair(
    scans: Sequence[Scan],
    labels: Sequence[Label],
    lost: Sequence[Lost] = (),
    *,
    root: Path,
    is_structure: Callable[[PurePath], bool] = lambda path: False,
) -> Pairs:
    """The pairs of usable scans and label maps; ambiguous label maps are refused.

    Parameters
    ----------
    scans, labels
        The scans and label maps found below `root`.
    lost
        Scans that were found but cannot be used. A label map that may belong to one of them is not assigned to another
        scan.
    is_structure
        Returns whether a path below `root` has only a structure of the code table as its file name.
    """
    result = Pairs()
    candidates = [_candidate(i, scan, root) for i, scan in enumerate(scans)] + [_lost(one, root) for one in lost]
    by_series: dict[str, list[int]] = defaultdict(list)  # a series has several scans if it has several acquisitions
    for i, scan in enumerate(scans):
        if scan.dicom is not None:
            by_series[scan.dicom.series].append(i)
    lost_series = {one.series.partition(" ")[0]: one for one in lost if one.series}  # without the acquisition
    for label in labels:
        if label.reference is not None:
            found, reason = by_reference(scans, by_series, lost_series, label)
        else:
            index, reason = _scan_of(label, scans, candidates, by_series, root, is_structure)
            found = [] if index is None else [(index, label)]
        if not found:
            result.refused_labels.append((label, reason))
        for index, own in found:
            result.labels[index].append(own)
            if reason:
                result.refused_scans[index].append((own, reason))
    return result


def _candidate(index: int, scan: Scan, root: Path) -> Candidate:
    """The candidate for a usable scan."""
    if scan.dicom is not None and len(scan.files) > 1:
        return Candidate(index, scan.source, series_name(scan.source.relative_to(root)), scan.source)
    return Candidate(index, scan.source, path_name(scan.source.relative_to(root)), scan.source.parent)


def _lost(one: Lost, root: Path) -> Candidate:
    """The candidate for a scan that cannot be used."""
    inside = one.source.relative_to(root)
    if one.is_folder:
        return Candidate(None, one.source, series_name(inside), one.source, one.reason)
    return Candidate(None, one.source, path_name(inside), one.source.parent, one.reason)


def _scan_of(label, scans, candidates, by_series, root, is_structure) -> tuple[int | None, str]:
    """(index of the scan of a label map or None, reason why the scan or the label map is refused or "")."""
    known = [uid for uid in uids(label.path.name) if uid in by_series]
    if len(known) == 1:
        return _of_series(label, scans, by_series[known[0]])
    named = label_name(label.path.relative_to(root), label.folder)
    for rule in (_same_name, _named_like_folder, _nearby, _only_scan_below):
        found = rule(label, named, candidates)
        if found:
            by_grid = rule is not _nearby or bool(named.place) or len({c.folder for c in found}) == 1
            return _only_match(label, scans, found, by_grid=by_grid)
    if is_structure(label.path.relative_to(root)):
        found = [
            c for c in candidates if named.place and c.named.place == named.place and not unqualified(c.named.name)
        ]
        if found:
            return _only_match(label, scans, found)
    return None, f"{_missing(label, named, candidates)}; {TABLE}"


def _same_name(label: Label, named: PathName, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Rule 2. Words of the label map's name that describe content, such as lobes, are ignored."""
    if not named.name:
        return []
    exact = [c for c in candidates if c.named == named]
    if exact:
        return exact
    short = reduced(named.name)
    return [c for c in candidates if short and c.named.place == named.place and c.named.name in (short, named.name)]


def _named_like_folder(label: Label, named: PathName, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Rule 3."""
    names = {named.name, reduced(named.name)} - {""}
    places = {(*named.place, name) for name in names}
    return [c for c in candidates if c.named.place in places and unqualified(c.named.name) in ("", *names)]


def _nearby(label: Label, named: PathName, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Rule 4. A label map that is named like its own folder has no specific name either."""
    near = [c for c in candidates if label.path.parent in (c.folder, c.folder.parent) or c.named.place == named.place]
    return _without_specific_name(label, named, near)


def _only_scan_below(label: Label, named: PathName, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Rule 4 for the only scan at any depth below the folder of the label map, if this folder names a scan."""
    below = [c for c in candidates if named.place and c.named.place[: len(named.place)] == named.place]
    return _without_specific_name(label, named, below) if len(below) == 1 else []


def _without_specific_name(label: Label, named: PathName, near: list[Candidate]) -> list[Candidate]:
    """The nearby scans to which a label map without a specific name may belong."""
    own = {"", *named.place[-1:]}
    if reduced(named.name) not in own:
        return []
    if unqualified(named.name) not in own:  # lung_label may belong to a missing scan `lung`, but not to a scan `soft`
        near = [c for c in near if unqualified(c.named.name) in own]
    if not SCAN_WORDS.isdisjoint(words(stem(label.path.name))):  # ct_label belongs to a scan `ct`, not to `baseline`
        near = [c for c in near if not c.named.name]
    if reduced(named.name):  # p1/p1_label does not belong to a scan in p1/ with another name
        near = [c for c in near if f"{unqualified(c.named.name)}_".startswith((f"{reduced(named.name)}_", "_"))]
    return near


def _only_match(
    label: Label, scans: Sequence[Scan], found: Sequence[Candidate], *, by_grid: bool = True
) -> tuple[int | None, str]:
    """(index of the only usable scan that a rule allows, ""), or (None, reason); see `_scan_of`.

    by_grid: whether to distinguish scans by their grids.
    """
    unusable = [c for c in found if c.index is None]
    usable = [c.index for c in found if c.index is not None]
    if unusable:
        return None, f"its scan may be {unusable[0].source.name}, which cannot be used: {unusable[0].fault}"
    if len(usable) == 1:
        return _checked(label, scans, usable[0])
    if label.fault:
        return None, label.fault
    if not by_grid:
        names = ", ".join(sorted(c.source.name for c in found)[:3])
        return None, f"a label map above several folders must have the name of one scan, got none of {names}; {TABLE}"
    if incomplete := [scans[i] for i in usable if scans[i].unreadable]:
        name = incomplete[0].source.name
        rule = "a label map near several scans must have the name of one scan"
        return None, f"{rule} because files of {name} are unreadable; {TABLE}"
    fits = [i for i in usable if mismatch(scans[i], label) is None]
    same_folder = [i for i in fits if scans[i].dicom is None and scans[i].source.parent == label.path.parent]
    for chosen in (fits, same_folder):  # a label map drawn on a converted volume is in the folder of this volume
        if len(chosen) == 1:
            return chosen[0], ""
    with_grid = f"{len(fits)} of them" if fits else "none"
    nearby = f"{counted(len(usable), 'scan')} nearby, {with_grid} with its grid"
    rule = f"a label map must have the grid of one scan, got {nearby}"
    return None, linked(f"{rule}; {TABLE}", "label-grid")


def _checked(label: Label, scans: Sequence[Scan], index: int) -> tuple[int, str]:
    """(index, reason why the scan is refused: its label map cannot be read or has another grid; or "")."""
    wrong = mismatch(scans[index], label)
    return index, linked(f"label map {label.path.name} {wrong}", "label-grid") if wrong else ""


def mismatch(scan: Scan, label: Label) -> str | None:
    """The reason why the label map is not on the scan's grid; None if it is."""
    if label.geometry is None:
        return f"cannot be read: {label.fault}"
    if not label.segments:
        return difference(scan.geometry, label.geometry)
    start = placed(scan.geometry, label.geometry)
    return start if isinstance(start, str) else None


def _of_series(label: Label, scans: Sequence[Scan], indices: Sequence[int]) -> tuple[int | None, str]:
    """The scan of the series that the file name contains, or its only acquisition with the grid of the label map."""
    if len(indices) == 1:
        return _checked(label, scans, indices[0])
    fits = [i for i in indices if mismatch(scans[i], label) is None]
    if len(fits) == 1:
        return fits[0], ""
    rule = f"a label map must have the grid of one of the {len(indices)} acquisitions of its series"
    return None, linked(f"{rule}, got the grid of {len(fits)}", "label-grid")


def _missing(label: Label, named: PathName, candidates: Sequence[Candidate]) -> str:
    """The message for a missing scan: the expected name or folder, and the scans that were found."""
    if label.fault:
        return label.fault
    near = sorted(c.source.name for c in candidates if label.path.parent in (c.folder, c.folder.parent))
    there = f"got {', '.join(near[:3])}" + (", …" if len(near) > 3 else "") if near else "got no usable scan there"
    own = reduced(named.name) or named.name
    if own and own not in named.place[-1:]:
        return f'a label map must have the name of its scan, here "{own}", {there}'
    return f"a label map must be in the folder of its scan or a folder above it, {there}"
