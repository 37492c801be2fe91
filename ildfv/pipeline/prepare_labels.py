"""The labels of `prepare --labels`: they are checked before the scans are prepared, and assigned afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ildfv.columns import unused_note
from ildfv.counted import counted
from ildfv.datasets.identity import hashed
from ildfv.datasets.label_columns import PATIENT
from ildfv.datasets.label_file import LabelFile, read_label_file
from ildfv.datasets.label_paths import check_named, located
from ildfv.datasets.planned_slices import PlannedSlices
from ildfv.datasets.records import Discovery, Unused
from ildfv.datasets.report import PrepareReport
from ildfv.datasets.scan_labels import BOTH, ScanLabels, assign_scan_labels, names_scans, series_finder
from ildfv.datasets.settings import ScanSettings
from ildfv.datasets.slice_labels import SliceLabels, assign_labels
from ildfv.datasets.slice_store import Slices
from ildfv.datasets.table import unused_columns
from ildfv.datasets.unpacked import Unpacked
from ildfv.errors import InputError, check
from ildfv.patterns import UNLABELLED
from ildfv.pipeline.workspace import Workspace
from ildfv.progress import Progress
from ildfv.store.checksummed import write_checksummed

SLICE_LABELS = "ildfv slice labels"  # kind of slice-labels.json


def read_labels(path: Path | None, ignored_columns: Sequence[str], scans: Path) -> LabelFile | None:
    """The label file with the paths of its rows; None without a file. scans: the folder of the scans, or one file.

    InputError: the file is not valid, or columns are ignored without a file.
    """
    check(path is not None or not ignored_columns, "--ignore-column needs --labels, got none")
    return None if path is None else located(read_label_file(path, ignored_columns), scans)


def column_notes(table: Path | None, labels: LabelFile | None) -> list[str]:
    """Notes on columns of the table of scans and of the label file that are not used, and on missing patterns."""
    notes = [] if table is None else unused_note(table.name, unused_columns(table))
    return notes if labels is None else [*notes, *labels.notes()]


def store_labels(
    workspace: Workspace, labels: LabelFile, report: PrepareReport, view: Unpacked, progress: Progress
) -> list[str]:
    """Assigns the labels to slices or scans and stores them in the workspace. Returns notes for the report.

    The labels replace those of an earlier file. InputError: no prepared slice has a label, or there are both labels of
    scans and label maps.
    """
    if not report.prepared:
        return []  # nothing was prepared; the report lists the reasons
    salt, slices = workspace.settings.salt, workspace.stored_slices()
    sources = {scan.series: Path(scan.source) for scan in report.prepared}
    # `check_rows` found every patient among the discovered scans, so scans of a missing patient were quarantined later.
    is_refused = _refused(report.quarantined, view, salt, patients=labels.scan == PATIENT)
    found, refused = _assigned(labels, slices, sources, salt, view, is_refused)
    notes = [f"rows of the label file for quarantined scans were ignored ({refused})"] if refused else []
    if isinstance(found, ScanLabels):
        _check_no_label_maps(found, int(slices.scans("labelled").sum()))
        found.write(workspace.scan_labels_file)
        workspace.slice_labels_file.unlink(missing_ok=True)
        known = {series for series, row in found.presence.items() if max(row) >= 0}
        progress.note(f"{labels.path} labels {counted(len(known), 'scan')} as a whole")
        if missing := len(slices.names) - len(known):
            notes.append(f"scans without a label are not used for fitting ({missing} of {len(slices.names)})")
        return notes
    write_checksummed(workspace.slice_labels_file, {"kind": SLICE_LABELS, "version": 1, "labels": found.to_dict()})
    workspace.scan_labels_file.unlink(missing_ok=True)
    rows = {name: [row for row in rows.values() if max(row) > UNLABELLED] for name, rows in found.counts.items()}
    n_slices, n_scans = sum(map(len, rows.values())), sum(map(bool, rows.values()))
    check(n_slices > 0, f"{labels.path} must label at least one prepared slice, got none")
    counts = f"{counted(n_slices, 'slice')} of {counted(n_scans, 'scan')}"
    progress.note(f"{labels.path} labels {counts}")
    return notes


def check_rows(labels: LabelFile, salt: str, view: Unpacked, settings: ScanSettings, found: Discovery) -> None:
    """Raises InputError if a row contradicts the headers of the scans, or labels a scan that has a label map.

    It is called before any slice is windowed.
    """
    sources = {hashed(scan.series, salt): scan.source for scan in found.scans}
    if sources:
        planned = PlannedSlices(found.scans, salt, settings)
        assigned, _ = _assigned(labels, planned, sources, salt, view, _refused(found.quarantined, view, salt))
        if isinstance(assigned, ScanLabels) and settings.codes is not None:
            _check_no_label_maps(assigned, sum(bool(scan.labels) for scan in found.scans))
    elif view.scans == view.folder:  # paths into archives do not exist as files
        check_named(labels)


def check_no_scan_labels(workspace: Workspace, settings: ScanSettings, found: Discovery) -> None:
    """Raises InputError if scans have label maps, but the workspace has labels of scans.

    It is called before any slice is windowed.
    """
    n_mapped = sum(bool(scan.labels) for scan in found.scans)
    if n_mapped and settings.codes is not None and workspace.scan_labels_file.exists():
        rule = f"{BOTH}, got {workspace.scan_labels_file} and label maps ({n_mapped})"
        raise InputError(f"{rule}: prepare into another workspace")


def _check_no_label_maps(labels: ScanLabels, n_mapped: int) -> None:
    """Raises InputError if scans have label maps, which state more than the labels of scans."""
    remedy = "prepare into another workspace without a code table, or omit --labels"
    check(n_mapped == 0, f"{BOTH}, got labels of scans ({len(labels)}) and label maps ({n_mapped}): {remedy}")


def _assigned(
    labels: LabelFile,
    slices: Slices | PlannedSlices,
    sources: Mapping[str, Path],
    salt: str,
    view: Unpacked,
    is_refused: Callable[[Path | str], bool],
) -> tuple[SliceLabels | ScanLabels, int]:
    """(labels of slices or of scans, depending on the columns and the scans, number of rows of quarantined scans)."""
    series_of = series_finder(labels, slices, sources, salt, view.original)
    if names_scans(labels, slices, series_of):
        return assign_scan_labels(labels, slices, series_of, is_refused)
    return assign_labels(labels, slices, sources, salt, original=view.original, is_refused=is_refused)


def _refused(
    quarantined: Sequence[Unused], view: Unpacked, salt: str, *, patients: bool = False
) -> Callable[[Path | str], bool]:
    """A function that returns whether a path or series belongs to a quarantined scan.

    patients: whether the names are patients. Every patient is then assumed to have a quarantined scan.
    """
    paths = {view.original(unused.source).resolve() for unused in quarantined}
    series = {hashed(unused.series, salt) for unused in quarantined if unused.series}

    def is_refused(name: Path | str) -> bool:
        if isinstance(name, str):
            return patients or hashed(name, salt) in series
        return name.exists() and bool(paths & {name, *name.parents})  # an entry may be the folder of several files

    return is_refused


def listed_patients(labels: LabelFile | None) -> dict[Path | str, str] | None:
    """The patient of each path or series in the label file; None without such a file or without a column `patient`."""
    return labels.patients() if labels is not None and labels.has_patients else None
