"""The slice labels of a preparation: a label file is checked before and assigned after the scans are prepared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ildfv.datasets.identity import hashed
from ildfv.datasets.label_file import LabelFile
from ildfv.datasets.planned_slices import PlannedSlices
from ildfv.datasets.records import Discovery, Unused
from ildfv.datasets.report import PrepareReport
from ildfv.datasets.settings import ScanSettings
from ildfv.datasets.slice_labels import assign_labels
from ildfv.datasets.unpacked import Unpacked
from ildfv.errors import check
from ildfv.patterns import UNLABELLED
from ildfv.pipeline.workspace import Workspace
from ildfv.progress import Progress
from ildfv.store.checksummed import write_checksummed

SLICE_LABELS = "ildfv slice labels"  # kind of slice-labels.json


def store_slice_labels(
    workspace: Workspace, labels: LabelFile, report: PrepareReport, view: Unpacked, progress: Progress
) -> list[str]:
    """Assigns the labels to slices and stores them in the workspace. Returns notes for the report."""
    if not report.prepared:
        return []  # nothing was prepared; the report lists the reasons
    salt = workspace.settings.salt
    sources = {scan.series: Path(scan.source) for scan in report.prepared}
    is_refused = _refused(report.quarantined, view, salt)
    found, refused = assign_labels(
        labels, workspace.stored_slices(), sources, salt, original=view.original, is_refused=is_refused
    )
    write_checksummed(workspace.slice_labels_file, {"kind": SLICE_LABELS, "version": 1, "labels": found.to_dict()})
    known = {name: [row for row in rows.values() if max(row) > UNLABELLED] for name, rows in found.counts.items()}
    slices, scans = sum(map(len, known.values())), sum(map(bool, known.values()))
    check(slices > 0, f"{labels.path} must label at least one prepared slice, got none")
    progress.note(f"{slices:,} slices of {scans:,} scans labelled by {labels.path}")
    return [f"{refused} rows of the labels belong to quarantined files and were ignored"] if refused else []


def check_rows(labels: LabelFile, salt: str, view: Unpacked, settings: ScanSettings, found: Discovery) -> None:
    """InputError: a row contradicts the headers of the scans, or labels a scan that has a label map.

    Called before any slice is windowed.
    """
    sources = {hashed(scan.series, salt): scan.source for scan in found.scans}
    if sources:
        is_refused = _refused(found.quarantined, view, salt)
        planned = PlannedSlices(found.scans, salt, settings)
        assign_labels(labels, planned, sources, salt, original=view.original, is_refused=is_refused)


def _refused(quarantined: Sequence[Unused], view: Unpacked, salt: str) -> Callable[[Path | str], bool]:
    """A function that returns whether a path or series belongs to a quarantined scan."""
    paths = {view.original(unused.source).resolve() for unused in quarantined}
    series = {hashed(unused.series, salt) for unused in quarantined if unused.series}

    def is_refused(name: Path | str) -> bool:
        if isinstance(name, str):
            return hashed(name, salt) in series
        return name.exists() and bool(paths & {name, *name.parents})  # an entry may be the folder of several files

    return is_refused


def listed_patients(labels: LabelFile | None) -> dict[Path | str, str] | None:
    """The patients in the column of the label file, if it has one."""
    return labels.patients() if labels is not None and labels.has_patients else None
