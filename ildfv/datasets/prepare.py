"""Preparation of all scans of a folder: conversion, stored parts that are kept or replaced, and the report."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ildfv.datasets.convert import Outcome, Task, convert_scan
from ildfv.datasets.discovery import label_files
from ildfv.datasets.duplicates import find_duplicates
from ildfv.datasets.identity import LISTED, hashed
from ildfv.datasets.image_files import image_note
from ildfv.datasets.input import find_scans
from ildfv.datasets.records import Discovery, Scan, Unused
from ildfv.datasets.report import Prepared, PrepareReport, Removed
from ildfv.datasets.slices_key import slices_key
from ildfv.datasets.unpacked import Unpacked
from ildfv.errors import InputError, linked
from ildfv.patterns import labelled_slices
from ildfv.progress import SILENT, Progress
from ildfv.scans.images import Grey
from ildfv.scans.labels import Codes
from ildfv.scans.resample import METHOD, must_resample
from ildfv.store.atomic import TEMPORARY, key_of, sweep
from ildfv.store.parts import Row, WritableParts, writing_parts
from ildfv.streaming.processes import Died, as_completed

LABELS_PER_SLICE = "labels per slice"  # so that parts of versions that labelled whole scans are prepared again
KEPT_LABELS = "labelled slices of an earlier run were kept: without codes they would lose their labels"
NO_LABELS = "labelled slices of an earlier run were kept: this run found no labels for the scan"
KEPT_SLICES = "slices of an earlier run were kept"
REPLACEMENTS = f"{TEMPORARY}replacements"  # folder in the store for parts that will replace others
GRID = 512  # rows and columns in the paper; with others, a threshold in pixels is a different area


def prepare(
    scans: Path,
    out: Path,
    *,
    codes: Path | str | None = None,
    table: Path | None = None,
    packed: bool = False,
    unlabelled_is_negative: bool = False,
    resample: bool = False,
    salt: str,
    patient_from: str = "id",
    grey: Grey | None = None,
    patients: Mapping[Path | str, str] | None = None,
    lung_masks: Path | None = None,
    hu: bool = False,
    view: Unpacked | None = None,
    check_found: Callable[[Discovery], None] | None = None,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> PrepareReport:
    """The report on every file in `scans`, after the slices of all usable scans are stored as parts in `out`.

    A scan whose part exists, is intact and was made from the same files with the same settings is kept; any other is
    converted. A stored part is replaced only by the same file, modified, or by the same slices from another place:
    `a/p1/ct.nii.gz` and `b/p1/ct.nii.gz` have the same path below the input folder but may be two people. A labelled
    part is never replaced by one without labels.

    A scan that fails a check or duplicates another scan (`find_duplicates`) is quarantined; the run continues. The
    stored part of a scan that fails a check is kept if it is intact. Parts that are removed because they are duplicates
    or corrupt are in the report's `removed`.

    Parameters
    ----------
    scans : path
        A folder, which is searched with all its subfolders, or one file.
    out : path
        Folder of the slice store.
    codes : path or str, optional
        TOML table of label codes, or the name of a shipped one ("phantom", "cip"). Without it label maps are not read.
    table : path, optional
        CSV table of the scans, their label maps and patients (`datasets.table`), which replaces the search.
    packed : bool
        Read DICOM files that are compressed with gzip or lack the preamble; those in a table are always read.
    unlabelled_is_negative : bool
        Slices with lung but without a labelled voxel show no pattern. By default they are unlabelled.
    resample : bool
        Accept scans that are tilted up to 30°, or whose gaps differ, and resample them and their label maps
        (`scans.resample`). Other scans are not changed by it.
    salt : str
        The workspace's salt for the hashes of patients and series.
    patient_from : {"id", "folder", "study"}
        Identity of the patient of a DICOM series: PatientID, first folder on its path below `scans`, or
        StudyInstanceUID. The latter two are for data in which PatientIDs were removed or replaced by one value.
    grey : Grey, optional
        Read only images (PNG, JPEG, TIFF), with these HU of their grey levels.
    patients : mapping, optional
        The patient by path of a file or scan, or by series, instead of `patient_from`; other scans are quarantined.
    lung_masks : path, optional
        Folder of lung masks (`datasets.lung_masks`), used instead of the built-in rule.
    hu : bool
        Also store the slices in HU, 100 KB each, which layers without a network then use instead of 8-bit windows.
    view : Unpacked, optional
        The original input, if `scans` is a copy of it with unpacked archives.
    check_found : callable, optional
        Called with what the search found before anything is converted; it may raise.
    workers : int, optional
        Number of processes; one per core by default.

    Raises
    ------
    InputError
        If `scans` contains no file, `codes` is not a valid table, or `out` was written with another salt.
    """
    meanings = None if codes is None else Codes.load(codes)
    if not salt:
        raise InputError("salt must not be empty: identities are hashed with it")
    scans, out = Path(scans), Path(out)
    found = find_scans(
        scans,
        table,
        codes,
        packed=packed,
        resample=resample,
        patient_from=patient_from,
        grey=grey,
        patients=patients,
        lung_masks=lung_masks,
        view=view,
        workers=workers,
        progress=progress,
    )
    if check_found is not None:
        check_found(found)
    patient_from = patient_from if patients is None else LISTED
    report = PrepareReport(quarantined=list(found.quarantined), ignored=list(found.ignored))
    base = scans if scans.is_dir() else scans.parent
    with writing_parts(out, slices_key(salt)) as parts:
        studies = _studies_of_patients(found.scans)
        run = _Run(
            parts, report, out, base, meanings, salt, patient_from, studies, progress, unlabelled_is_negative, hu
        )
        run.view = view
        report.quarantined = [run.refused(unused) for unused in report.quarantined]
        for scan in found.scans:
            run.plan(scan)
        run.convert(workers)
        run.quarantine_duplicates(found.scans)
        run.drop_unseparated(found.scans)
    for entries in (report.prepared, report.quarantined):
        entries.sort(key=lambda entry: str(entry.source))
    return report


@dataclass
class _Run:
    """The state of one `prepare`: open store, report so far, tasks to do."""

    parts: WritableParts
    report: PrepareReport
    out: Path
    base: Path  # folder that the paths in keys are relative to
    codes: Codes | None
    salt: str
    patient_from: str
    studies: Mapping[str, int]  # number of studies by patient
    progress: Progress
    unlabelled_is_negative: bool
    hu: bool
    tasks: list[Task] = field(default_factory=list)
    view: Unpacked | None = None

    def plan(self, scan: Scan) -> None:
        """Decides whether the scan's stored part is kept, replaced, or made for the first time."""
        try:
            key = self._key(scan)
        except OSError as error:  # deleted since discovery; its part, if any, is kept
            reason = f"must be readable, got {error.strerror or error}"
            self.report.quarantined.append(Unused(scan.source, reason, len(scan.files)))
            return
        parts = self.parts
        row = parts.rows.get(self._name(scan))
        if row is None:
            self._add_task(scan, key, self.out)
        elif row.key == key and parts.intact(row):
            self._keep(scan, row)
        elif row.key == key:
            self.progress.note(f"{parts.path(row.name)} is missing or corrupt: its scan is prepared again")
            self._add_task(scan, key, self.out / REPLACEMENTS)
        elif _from_another_file(row, scan, key):
            self._add_task(scan, key, self.out / REPLACEMENTS, same_slices=True)
        elif self.codes is None and parts.intact(row) and self._is_labelled(row):
            self._keep(scan, row, KEPT_LABELS)
        else:
            self._add_task(scan, key, self.out / REPLACEMENTS)

    def convert(self, workers: int | None) -> None:
        """Runs all tasks and records their outcomes."""
        (self.out / REPLACEMENTS).mkdir()
        slices = sum(task.scan.geometry.shape[0] for task in self.tasks)
        with self.progress.task("Preparing slices", total=slices) as advance:
            for index, result in as_completed(convert_scan, self.tasks, workers):
                died = Outcome(reason=linked("its worker process was killed (out of memory?)", "out-of-memory"))
                self._record(self.tasks[index], died if result is Died else result)
                advance(self.tasks[index].scan.geometry.shape[0])
        sweep(self.out)  # removes REPLACEMENTS

    def quarantine_duplicates(self, scans: list[Scan]) -> None:
        """Moves duplicates from the store to quarantine, also those of scans that an earlier run prepared."""
        here = {scan.series: scan for scan in self.report.prepared}
        by_name = {self._name(scan): scan for scan in scans}
        sources = {name: str(scan.source) for name, scan in here.items()}
        reasons = find_duplicates(self.parts, sources, self.progress.note)
        for name, reason in reasons.items():
            if name not in here or here[name].kept:  # parts that this run added are not reported as removed
                self._report_removal(name, reason)
            if name in here:
                self.report.prepared.remove(here[name])
                self.report.quarantined.append(_unused(by_name[name], reason))
            else:
                self.report.quarantined.append(Unused(self.parts.path(name), reason, files=0))
        if reasons:
            self.parts.drop(*sorted(reasons))

    def refused(self, unused: Unused) -> Unused:
        """The entry of a refused scan, with a note if an earlier run prepared it.

        An intact part is kept. A corrupt one is removed, because the store could not be read with it.
        """
        row = self.parts.rows.get(hashed(unused.series, self.salt)) if unused.series else None
        if row is None:
            return unused
        if self.parts.intact(row):
            return replace(unused, reason=f"{unused.reason}; {KEPT_SLICES} ({row.count} slices)")
        self._report_removal(row.name, f"its part was corrupt, and its scan is refused: {unused.reason}")
        self.parts.drop(row.name)
        return unused

    def drop_unseparated(self, scans: list[Scan]) -> None:
        """Removes the parts in which earlier versions joined acquisitions that are now separate scans."""
        separate = {hashed(scan.dicom.series, self.salt) for scan in scans if scan.dicom and scan.dicom.acquisition}
        if stale := separate & set(self.parts.rows):
            for name in sorted(stale):
                self._report_removal(name, "it joined acquisitions that are now separate scans")
            self.parts.drop(*sorted(stale))

    def _add_task(self, scan: Scan, key: str, out: Path, *, same_slices: bool = False) -> None:
        negative = self.unlabelled_is_negative
        self.tasks.append(Task(scan, self.codes, self.salt, self.out, out, key, same_slices, negative, self.hu))

    def _record(self, task: Task, outcome: Outcome) -> None:
        scan = task.scan
        if outcome.kept:
            self._keep(scan, self.parts.rows[self._name(scan)], KEPT_LABELS)
        elif outcome.row is None:
            unused = _unused(scan, outcome.reason)
            # With `same_slices` the stored part is from another file, to which the refusal does not apply.
            self.report.quarantined.append(unused if task.same_slices else self.refused(unused))
        elif outcome.labelled_slices == 0 and self._has_labels(outcome.row.name):
            self._keep(scan, self.parts.rows[outcome.row.name], NO_LABELS)
        else:
            if task.out == self.out:
                self.parts.add(outcome.row)
            else:
                self.parts.replace(outcome.row, task.out)
            self._add_prepared(scan, outcome.row, outcome.labelled_slices, kept=False)

    def _keep(self, scan: Scan, row: Row, *notes: str) -> None:
        self._add_prepared(scan, row, self._labelled_slices(row), *notes, kept=True)

    def _add_prepared(self, scan: Scan, row: Row, labelled_slices: int, *notes: str, kept: bool) -> None:
        how = self._resampled(row)
        if how:
            notes = (how, *notes)
        self.report.prepared.append(
            Prepared(
                source=scan.source,
                kind=scan.kind,
                patient=hashed(scan.patient, self.salt),
                series=row.name,
                slices=row.count,
                labelled_slices=labelled_slices,
                labels=tuple(label.path for label in scan.labels),
                kept=kept,
                resampled=how,
                notes=(*_notes(scan, row.count, labelled_slices, self._studies(scan)), *notes),
            )
        )

    def _report_removal(self, name: str, reason: str) -> None:
        self.report.removed.append(Removed(name, self.parts.rows[name].count, self._has_labels(name), reason))

    def _has_labels(self, name: str) -> bool:
        """Whether the store has an intact part of this name with labels."""
        row = self.parts.rows.get(name)
        return row is not None and self.parts.intact(row) and self._is_labelled(row)

    def _studies(self, scan: Scan) -> int:
        """Number of studies that share the scan's PatientID, if that is the patient."""
        return self.studies.get(scan.patient, 0) if scan.dicom is not None and self.patient_from == "id" else 0

    def _is_labelled(self, row: Row) -> bool:
        with self.parts.open(row.name) as file:
            return bool(file.attrs["labelled"])

    def _labelled_slices(self, row: Row) -> int:
        with self.parts.open(row.name) as file:
            return labelled_slices(file["counts"][()])

    def _resampled(self, row: Row) -> str:
        """How the slices of a part were resampled, or ""."""
        with self.parts.open(row.name) as file:
            how = file.attrs.get("resampled", "")
        return how.decode() if isinstance(how, bytes) else str(how)

    def _name(self, scan: Scan) -> str:
        """Name of the scan's part."""
        return hashed(scan.series, self.salt)

    def _key(self, scan: Scan) -> str:
        """Fingerprint of the input of the part: files by name, size and time, patient, and meaning of the labels.

        For a volume file, whose identity is only its path below the input folder, the hashed absolute path and a dash
        precede it.
        """
        labels = [path for label in scan.labels for path in label_files(label)]
        files = [
            (path.relative_to(self.base).as_posix(), (stat := path.stat()).st_size, stat.st_mtime_ns)
            for path in [*scan.files, *labels]
        ]
        settings = None
        if scan.labels and self.codes is not None:
            structures = [label.structure for label in scan.labels]
            settings = [LABELS_PER_SLICE, self.codes.settings(), structures, self.unlabelled_is_negative]
        if must_resample(scan.geometry):
            settings = [METHOD, settings]
        more: list = []  # omitted if empty, so that the keys of other scans equal those of earlier versions
        if scan.grey is not None:
            more.append(["grey", scan.grey.low, scan.grey.high])
        if scan.mask is not None:
            more.append(["lung mask", (stat := scan.mask.stat()).st_size, stat.st_mtime_ns])
        if self.hu:
            more.append("hu")
        key = key_of(files, settings, hashed(scan.patient, self.salt), *more)
        if scan.dicom is not None:
            return key
        source = scan.source if self.view is None else self.view.original(scan.source)
        return f"{hashed(str(source.resolve()), self.salt)}-{key}"


def _unused(scan: Scan, reason: str) -> Unused:
    return Unused(scan.source, reason, len(scan.files) + len(scan.labels), scan.series)


def _from_another_file(row: Row, scan: Scan, key: str) -> bool:
    """Whether the stored part was made from a volume file with another absolute path."""
    return scan.dicom is None and row.key.partition("-")[0] != key.partition("-")[0]


def _studies_of_patients(scans: list[Scan]) -> dict[str, int]:
    """Number of studies by patient. Series without a StudyInstanceUID count as one."""
    studies: dict[str, set[str]] = defaultdict(set)
    for scan in scans:
        if scan.dicom is not None:
            studies[scan.patient].add(scan.dicom.study)
    return {patient: len(found) for patient, found in studies.items()}


def _notes(scan: Scan, slices: int, labelled: int, studies: int) -> list[str]:
    notes = []
    if studies > 1:
        notes.append(
            f"its PatientID is that of {studies} studies, which count as one patient: if they are different people, "
            "pass --patient-from folder or --patient-from study"
        )
    if scan.dicom is not None and scan.dicom.acquisition:
        notes.append("one of several acquisitions of its series that interleave or repeat positions: each is a scan")
    if scan.dicom is not None and scan.dicom.unnamed:
        notes.append(f"files without a SOPInstanceUID: {scan.dicom.unnamed}, identified by a checksum of their content")
    if scan.grey is not None:
        notes.append(image_note(scan))
    if scan.mask is not None:
        notes.append("lung from the given mask")
    if (grid := scan.geometry.shape[1:]) != (GRID, GRID):
        notes.append(f"slices are {grid[0]}×{grid[1]}, not {GRID}×{GRID}: a threshold in pixels is a different area")
    if scan.patients_in_study > 1:
        notes.append(f"its study has scans of {scan.patients_in_study} patients: one person must have one PatientID")
    if scan.unreadable:
        notes.append(f"unreadable files in its folder: {scan.unreadable}; slices at its ends may be missing")
    names = ", ".join(label.path.name for label in scan.labels)
    if names and not labelled:
        notes.append(f"{names} labels neither healthy lung nor a pattern: the scan counts as unlabelled")
    elif names and labelled < slices:
        notes.append(f"{slices - labelled} of {slices} slices show lung but have no label: they count as unlabelled")
    return notes
