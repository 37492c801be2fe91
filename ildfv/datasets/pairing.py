"""Which label maps belong to which scan. The rule is explained with pictures in docs/layouts.md.

A label map belongs to a scan only if something besides its grid says so:

1.  a DICOM SEG references the series, or the file name contains the SeriesInstanceUID; then nothing else counts;
2.  place and name of both are the same (see `naming`): p1/t0.nii.gz and p1/t0_label.nii.gz, imagesTr and labelsTr;
3.  it is named like the folder that holds the scan: p1_label.nii.gz beside p1/;
4.  it has no name of its own (labels.nii.gz) and the scan lies in its folder or in a folder directly inside.

The scan must have the grid of the label map (shape, and voxels within a tenth of a voxel). Of several scans that one of
the rules allows, the only one with that grid is taken. Where two have it, or where one of them could not be read, the
label map is refused: a grid is shared by follow-up scans and reconstructions, and is never evidence by itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ildfv.datasets.naming import Case, case_of, case_of_series, reduced, uids
from ildfv.datasets.records import Label, Left, Scan
from ildfv.scans.geometry import difference

TABLE = "`prepare --table` names the scan of each label map"


@dataclass
class Pairs:
    """Label maps by index of their scan, scans refused because of a label map, and label maps refused."""

    labels: dict[int, list[Label]] = field(default_factory=lambda: defaultdict(list))
    refused_scans: dict[int, str] = field(default_factory=dict)
    refused_labels: list[tuple[Label, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Candidate:
    """A scan that a label map may belong to; index None: it was found but cannot be used, for `fault`."""

    index: int | None
    source: Path
    case: Case
    folder: Path
    fault: str = ""


def pair(scans: Sequence[Scan], labels: Sequence[Label], lost: Sequence[Left] = (), *, root: Path) -> Pairs:
    """The pairs of usable scans and label maps; what does not have exactly one reading is refused.

    Parameters
    ----------
    scans, labels
        What was found below `root`.
    lost
        Scans that were found but cannot be used. A label map that may be theirs is not given to another scan.
    """
    result = Pairs()
    candidates = [_candidate(i, scan, root) for i, scan in enumerate(scans)] + [_lost(left, root) for left in lost]
    by_series = {scan.series: i for i, scan in enumerate(scans) if scan.dicom is not None}
    for label in labels:
        index, reason = _partner(label, scans, candidates, by_series, root)
        if index is None:
            result.refused_labels.append((label, reason))
        else:
            result.labels[index].append(label)
            if reason:
                result.refused_scans[index] = reason
    return result


def _candidate(index: int, scan: Scan, root: Path) -> Candidate:
    if scan.dicom is not None and len(scan.files) > 1:
        return Candidate(index, scan.source, case_of_series(scan.source.relative_to(root)), scan.source)
    return Candidate(index, scan.source, case_of(scan.source.relative_to(root)), scan.source.parent)


def _lost(left: Left, root: Path) -> Candidate:
    inside = left.source.relative_to(root) if left.source.is_relative_to(root) else left.source
    is_folder = bool(left.series) or left.source.is_dir()
    case = case_of_series(inside) if is_folder else case_of(inside)
    return Candidate(None, left.source, case, left.source if is_folder else left.source.parent, left.reason)


def _partner(label, scans, candidates, by_series, root) -> tuple[int | None, str]:
    """(index of the scan or None, why the scan or the label map is refused)."""
    if label.kind == "dicom":
        return _by_reference(by_series, label)
    named = [uid for uid in uids(label.path.name) if uid in by_series]
    if len(named) == 1:
        return _checked(label, scans, by_series[named[0]])
    case = case_of(label.path.relative_to(root))
    for rule in (_same_case, _named_like_folder, _nearby):
        found = rule(label, case, candidates)
        if found:
            return _the_one(label, scans, found)
    return None, f"{_missing(label, case, candidates)}; {TABLE}"


def _same_case(label: Label, case: Case, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Rule 2. A name that only describes content, such as lobes, is no name."""
    if not case.name:
        return []
    exact = [c for c in candidates if c.case == case]
    if exact:
        return exact
    short = reduced(case.name)
    return [c for c in candidates if short and c.case.place == case.place and c.case.name in (short, case.name)]


def _named_like_folder(label: Label, case: Case, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Rule 3."""
    names = {case.name, reduced(case.name)} - {""}
    places = {(*case.place, name) for name in names}
    return [c for c in candidates if c.case.place in places and reduced(c.case.name) in ("", *names)]


def _nearby(label: Label, case: Case, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Rule 4. A label map named like its own folder has no other name either."""
    own = {"", *case.place[-1:]}
    if reduced(case.name) not in own:
        return []
    near = [c for c in candidates if label.path.parent in (c.folder, c.folder.parent) or c.case.place == case.place]
    if reduced(case.name):  # p1/p1_label: a scan in p1/ that has another name is another scan
        near = [c for c in near if reduced(c.case.name) == "" or reduced(c.case.name).startswith(reduced(case.name))]
    return near


def _the_one(label: Label, scans: Sequence[Scan], found: Sequence[Candidate]) -> tuple[int | None, str]:
    """The only usable scan of those that a rule allows, by grid where they are several."""
    unusable = [c for c in found if c.index is None]
    usable = [c.index for c in found if c.index is not None]
    if unusable:
        return None, f"its scan may be {unusable[0].source.name}, which cannot be used: {unusable[0].fault}"
    if len(usable) == 1:
        return _checked(label, scans, usable[0])
    if label.fault:
        return None, label.fault
    fits = [i for i in usable if difference(scans[i].geometry, label.geometry) is None]
    beside = [i for i in fits if scans[i].dicom is None and scans[i].source.parent == label.path.parent]
    for chosen in (fits, beside):  # a conversion beside it is what the label map was drawn on
        if len(chosen) == 1:
            return chosen[0], ""
    what = f"of {len(fits)}" if fits else "of none"
    return None, f"a label map must have the grid of one scan, got {len(usable)} scans nearby and the grid {what}; {TABLE}"


def _checked(label: Label, scans: Sequence[Scan], index: int) -> tuple[int, str]:
    """The scan, which is refused if its label map cannot be read or lies on another grid."""
    wrong = f"cannot be read: {label.fault}" if label.geometry is None else difference(scans[index].geometry, label.geometry)
    return index, f"label map {label.path.name} {wrong}" if wrong else ""


def _by_reference(by_series: dict[str, int], label: Label) -> tuple[int | None, str]:
    found = [by_series[series] for series in label.referenced if series in by_series]
    if len(found) == 1:
        return found[0], ""
    return None, f"a DICOM SEG must reference one series that is here and usable, got {len(found)}"


def _missing(label: Label, case: Case, candidates: Sequence[Candidate]) -> str:
    """Which scan the label map asks for, and what is there instead."""
    if label.fault:
        return label.fault
    near = sorted(c.source.name for c in candidates if label.path.parent in (c.folder, c.folder.parent))
    there = f"got {', '.join(near[:3])}" + (", …" if len(near) > 3 else "") if near else "got no usable scan there"
    own = reduced(case.name) or case.name
    if own and own not in case.place[-1:]:
        return f'a label map must have the name of its scan, here "{own}", {there}'
    return f"a label map must lie beside its scan or one folder above, {there}"


__all__ = ["Callable", "Pairs", "pair"]
