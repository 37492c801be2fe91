"""Scans to slices: every scan of a folder windowed, counted, made nameless and stored, on all cores, resumable."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ildfv.datasets.discovery import Left, Scan, discover
from ildfv.datasets.duplicates import twins
from ildfv.datasets.identity import hashed
from ildfv.datasets.prepared import Prepared, PrepareReport, Removed
from ildfv.datasets.slice_store import ScanSlices, write_scan
from ildfv.datasets.slices_key import slices_key
from ildfv.errors import InputError, MissingPackageError
from ildfv.patterns import PATTERNS, UNLABELLED
from ildfv.progress import SILENT, Progress
from ildfv.scans.dicom import read_series
from ildfv.scans.labels import Codes, pattern_labels, says_something
from ildfv.scans.libraries import quiet, said
from ildfv.scans.lungs import check_lung, lung_mask
from ildfv.scans.segmentation import read_segmentation
from ildfv.scans.volume import Volume
from ildfv.scans.volumefiles import read_file, read_label_file
from ildfv.scans.windows import SIZE, WINDOWS, nearest, windowed
from ildfv.store.atomic import TEMPORARY, key_of, sweep
from ildfv.store.parts import Parts, Row, WritableParts, writing_parts
from ildfv.streaming.processes import Died, each

PHANTOM = "PHANTOM"  # how the patient id of a generated or physical phantom begins
KEPT_LABELS = "its labelled slices were kept as prepared before: without codes they would lose their labels"
NO_LABELS = "its labelled slices were kept as prepared before: this run found no labels for it"
KEPT_PREPARED = "its slices were kept as prepared before"
WAITING = f"{TEMPORARY}replacements"  # finished parts in the place of others, below the store
GRID = 512  # side of the paper's slices: pixel thresholds mean another area elsewhere


@dataclass(frozen=True)
class Task:
    """One scan to be done by a worker."""

    scan: Scan
    codes: Codes | None
    salt: str
    out: Path
    key: str
    replaces: bool = False  # a part is there, which stays until this one is finished
    guarded: bool = False  # that part is from a volume file elsewhere: only the same slices may take its place


@dataclass(frozen=True)
class Outcome:
    """What a worker made of a scan: a row for the manifest, or the reason why not."""

    row: Row | None = None
    labelled: bool = False
    reason: str = ""
    kept: bool = False  # the part that was there stays, with the row it has


def prepare(
    scans: Path,
    out: Path,
    *,
    codes: Path | str | None = None,
    salt: str,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> PrepareReport:
    """The slices of all scans below `scans`, as parts in `out`, and a report on every file found there.

    codes: a TOML table of label codes, or a shipped one ("phantom", "cip"); None leaves label maps unread. salt: the
    workspace's, for the hashes of patients and series. workers: processes, all cores by default.

    A scan whose part is there already, intact and made from the same files and settings, is kept; else done anew. A
    scan that breaks a rule is quarantined and the rest goes on. So is one whose slices equal another's, see `twins`. So
    is a NIfTI or NRRD file whose patient and series, taken from its path below `scans`, are those of a file elsewhere
    with other slices: `a/p1/ct.nii.gz` and `b/p1/ct.nii.gz` may be two people. Only the same file, changed, or the
    same slices, moved, take the part's place.
    A part is replaced only by a scan that was read successfully, and a labelled one never by one without labels. What
    leaves the store, as a duplicate or because its file is damaged, is in the report's `removed`.
    Raises `InputError` if there is nothing to look at, the codes are no table, or `out` was made with another salt.
    """
    table = None if codes is None else Codes.load(codes)
    if not salt:
        raise InputError("salt must not be empty: identities are hashed with it")
    scans, out = Path(scans), Path(out)
    found = discover(scans, labels=table is not None, workers=workers, progress=progress)
    report = PrepareReport(quarantined=list(found.quarantined), ignored=list(found.ignored))
    if codes is not None:  # the table may lie beside the scans
        report.ignored = [
            replace(left, reason="no scan: the table of label codes") if left.source == Path(codes) else left
            for left in report.ignored
        ]
    base = scans if scans.is_dir() else scans.parent
    with writing_parts(out, slices_key(salt)) as parts:
        report.quarantined = [_refused(parts, left, salt, report) for left in report.quarantined]
        tasks = []
        for scan in found.scans:
            try:
                task = Task(scan, table, salt, out, _key(scan, base, table, salt))
            except OSError as error:  # gone since it was looked at; what was prepared of it before may stay
                reason = f"must be readable, got {error.strerror or error}"
                report.quarantined.append(Left(scan.source, reason, len(scan.files)))
                continue
            row = parts.rows.get(hashed(scan.series, salt))
            if row is None:
                tasks.append(task)
            elif row.key == task.key and parts.intact(row):
                report.prepared.append(_kept(parts, scan, row, salt))
            elif row.key == task.key:
                progress.note(f"{parts.path(row.name)} is no longer what was written: it is made anew")
                tasks.append(replace(task, replaces=True))
            elif _elsewhere(row, task):
                tasks.append(replace(task, replaces=True, guarded=True))
            elif table is None and parts.intact(row) and _labelled(parts, row):
                report.prepared.append(_kept(parts, scan, row, salt, KEPT_LABELS))
            else:
                tasks.append(replace(task, replaces=True))
        (out / WAITING).mkdir()
        with progress.task("Preparing slices", total=sum(task.scan.geometry.shape[0] for task in tasks)) as advance:
            for index, result in each(prepare_scan, tasks, workers):
                scan = tasks[index].scan
                outcome = Outcome(reason="its worker process died (out of memory?)") if result is Died else result
                if outcome.kept:
                    row = parts.rows[hashed(scan.series, salt)]
                    report.prepared.append(_kept(parts, scan, row, salt, KEPT_LABELS))
                elif outcome.row is None:
                    # A guarded task's part is another file's: nothing is said of it here.
                    left = _left(scan, outcome.reason)
                    report.quarantined.append(left if tasks[index].guarded else _refused(parts, left, salt, report))
                elif not outcome.labelled and _has_labels(parts, outcome.row.name):
                    report.prepared.append(_kept(parts, scan, parts.rows[outcome.row.name], salt, NO_LABELS))
                else:
                    if tasks[index].replaces:
                        parts.replace(outcome.row, out / WAITING)
                    else:
                        parts.add(outcome.row)
                    report.prepared.append(_prepared(scan, outcome.row, salt, outcome.labelled, kept=False))
                advance(scan.geometry.shape[0])
        sweep(out)  # the folder of replacements
        _set_twins_aside(parts, report, found.scans, salt, progress.note)
    for entries in (report.prepared, report.quarantined):
        entries.sort(key=lambda entry: str(entry.source))
    return report


def prepare_scan(task: Task) -> Outcome:
    """One scan read, checked, turned into slices and written; runs in a worker process."""
    try:
        with quiet():
            scan = scan_slices(task.scan, task.codes, task.salt)
        if task.guarded and _guard(task, scan):
            return Outcome(kept=True)
    except (InputError, MissingPackageError) as error:
        return Outcome(reason=str(error))
    except MemoryError:
        return Outcome(reason="must fit in memory, got MemoryError")
    except Exception as error:  # one scan must not end the run; where it happened goes into the reason
        where = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"unexpected {said(error)} ({Path(where.filename).name}:{where.lineno})"
        return Outcome(reason=reason)
    folder = task.out / WAITING if task.replaces else task.out
    return Outcome(write_scan(folder, scan, key=task.key), scan.labelled)


def scan_slices(scan: Scan, codes: Codes | None, salt: str) -> ScanSlices:
    """The slices of one scan, read and checked; unlabelled if it has no label map, or one that labels no lung."""
    volume = _volume(scan)
    m = len(volume.hu)
    lung = np.array([np.count_nonzero(lung_mask(slice_, volume.pixel_area)) for slice_ in volume.hu], np.int32)
    check_lung(lung, volume.pixel_area)
    labels = None
    if scan.label is not None and codes is not None:
        meanings = _meanings(scan, volume, codes)
        if says_something(meanings):
            labels = pattern_labels(meanings)
    images = np.empty((m, len(WINDOWS), SIZE, SIZE), np.uint8)
    for z in range(m):  # a slice at a time: the windows of a whole scan would not fit beside it
        images[z] = windowed(volume.hu[z])
    if labels is None:
        small = np.zeros((m, SIZE, SIZE), np.uint8)
        counts = np.full((m, len(PATTERNS)), UNLABELLED, np.int32)
    else:
        small = nearest(labels)
        counts = np.array([np.bincount(slice_.ravel(), minlength=len(PATTERNS) + 1)[1:] for slice_ in labels], np.int32)
    return ScanSlices(
        images=images,
        labels=small,
        counts=counts,
        lung=lung,
        positions=volume.positions,
        patient=hashed(volume.patient_id, salt),
        series=hashed(volume.series_id, salt),
        labelled=labels is not None,
        pixel_area=volume.pixel_area,
        phantom=volume.patient_id.upper().startswith(PHANTOM),
    )


def _guard(task: Task, scan: ScanSlices) -> bool:
    """Whether the part there must stay for its labels; `InputError` if its slices are not those of this scan."""
    with Parts(task.out).open(scan.series) as there:
        if not np.array_equal(there["images"][()], scan.images):
            raise InputError(
                f"its patient and series, taken from the path {task.scan.series}, are those of another scan prepared "
                "before: rename its folder or file, or prepare it into another workspace"
            )
        return task.codes is None and bool(there.attrs["labelled"])


def _volume(scan: Scan) -> Volume:
    if scan.dicom is not None:
        return read_series(scan.dicom)
    return read_file(scan.source, scan.kind, patient_id=scan.patient, series_id=scan.series)


def _meanings(scan: Scan, volume: Volume, codes: Codes) -> np.ndarray:
    """Meaning of each voxel by the scan's label map, uint8 (z, y, x)."""
    label = scan.label
    assert label is not None
    try:
        if label.kind == "dicom":
            return read_segmentation(label.path, volume.geometry, codes)
        values = read_label_file(label.path, label.kind)
        if values.shape != volume.hu.shape:  # its grid was compared when it was paired
            raise InputError(f"must have shape {volume.hu.shape}, got {values.shape}")
        return codes.translate(values)
    except InputError as error:
        raise InputError(f"label map {label.path.name}: {error}") from error


def _key(scan: Scan, base: Path, codes: Codes | None, salt: str) -> str:
    """What the scan's part is made from: its files by name, size and time, and the meaning of its labels.

    A volume file's begins with its place, hashed, and a dash: its identity is only a path below the folder handed in.
    """
    label = [] if scan.label is None else [scan.label.path]
    files = [
        (path.relative_to(base).as_posix(), (stat := path.stat()).st_size, stat.st_mtime_ns)
        for path in [*scan.files, *label]
    ]
    key = key_of(files, codes.settings() if label and codes is not None else None)
    return key if scan.dicom is not None else f"{hashed(str(scan.source.resolve()), salt)}-{key}"


def _elsewhere(row: Row, task: Task) -> bool:
    """Whether the part there was made from a volume file in another place."""
    return task.scan.dicom is None and row.key.partition("-")[0] != task.key.partition("-")[0]


def _labelled(parts: WritableParts, row: Row) -> bool:
    with parts.open(row.name) as file:
        return bool(file.attrs["labelled"])


def _has_labels(parts: WritableParts, name: str) -> bool:
    """Whether an intact part of that name, with labels, was prepared before: it is never replaced by one without."""
    row = parts.rows.get(name)
    return row is not None and parts.intact(row) and _labelled(parts, row)


def _refused(parts: WritableParts, left: Left, salt: str, report: PrepareReport) -> Left:
    """The same, saying what became of slices that an earlier run prepared of this scan.

    A refused scan replaces nothing. Only a part that is damaged besides is removed: nobody could read the store.
    """
    row = parts.rows.get(hashed(left.series, salt)) if left.series else None
    if row is None:
        return left
    if parts.intact(row):
        return replace(left, reason=f"{left.reason}; {KEPT_PREPARED} ({row.count} slices)")
    report.removed.append(_removed(parts, row.name, f"its file was damaged, and its scan is refused: {left.reason}"))
    parts.drop(row.name)
    return left


def _removed(parts: WritableParts, name: str, reason: str) -> Removed:
    row = parts.rows[name]
    return Removed(name, row.count, parts.intact(row) and _labelled(parts, row), reason)


def _kept(parts: WritableParts, scan: Scan, row: Row, salt: str, note: str = "") -> Prepared:
    made = _prepared(scan, row, salt, _labelled(parts, row), kept=True)
    return replace(made, notes=(*made.notes, note)) if note else made


def _prepared(scan: Scan, row: Row, salt: str, labelled: bool, *, kept: bool) -> Prepared:
    label = None if scan.label is None else scan.label.path
    notes = []
    if (grid := scan.geometry.shape[1:]) != (GRID, GRID):
        notes.append(f"slices are {grid[0]}×{grid[1]}, not {GRID}×{GRID}: a pixel threshold means another area")
    if scan.namesakes > 1:
        notes.append(f"its study has scans of {scan.namesakes} patients: one person must have one PatientID")
    if scan.unread:
        notes.append(f"{scan.unread} more in its folder could not be read: slices at its ends may be missing")
    if label is not None and not labelled:
        notes.append(f"{label.name} labels neither healthy lung nor a pattern: taken as unlabelled")
    return Prepared(
        source=scan.source,
        kind=scan.kind,
        patient=hashed(scan.patient, salt),
        series=row.name,
        slices=row.count,
        labelled=labelled,
        label=label,
        kept=kept,
        notes=tuple(notes),
    )


def _left(scan: Scan, reason: str) -> Left:
    return Left(scan.source, reason, len(scan.files) + (scan.label is not None), scan.series)


def _was_prepared(here: Mapping[str, Prepared], name: str) -> bool:
    """Whether the part is one of an earlier run; what this run made and set aside again was never there before."""
    return name not in here or here[name].kept


def _set_twins_aside(parts: WritableParts, report: PrepareReport, scans: list[Scan], salt: str, note) -> None:
    """Quarantines what `twins` finds. A part of a scan prepared before may so leave the store: the report says it."""
    here = {scan.series: scan for scan in report.prepared}
    found = {hashed(scan.series, salt): scan for scan in scans}
    reasons = twins(parts, {name: str(scan.source) for name, scan in here.items()}, note)
    report.removed += [_removed(parts, name, reason) for name, reason in reasons.items() if _was_prepared(here, name)]
    for name, reason in reasons.items():
        if name in here:
            report.prepared.remove(here[name])
            report.quarantined.append(_left(found[name], reason))
        else:
            report.quarantined.append(Left(parts.path(name), reason, files=0))
    if reasons:
        parts.drop(*sorted(reasons))
