"""All scans of a folder prepared: which are converted, which stored parts are kept or replaced, and the report."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from ildfv.datasets.convert import Outcome, Task, convert_scan
from ildfv.datasets.discovery import discover
from ildfv.datasets.duplicates import find_duplicates
from ildfv.datasets.identity import hashed
from ildfv.datasets.records import Scan, Unused
from ildfv.datasets.report import Prepared, PrepareReport
from ildfv.errors import InputError
from ildfv.progress import SILENT, Progress
from ildfv.scans.labels import Codes
from ildfv.scans.windows import SIZE, WINDOWS
from ildfv.store.atomic import TEMPORARY, key_of, sweep
from ildfv.store.parts import Row, WritableParts, writing_parts
from ildfv.streaming.processes import Died, as_completed

FORMAT = 1  # raise it when the same scan gives other bytes
KEPT_LABELS = "labelled slices of an earlier run were kept: without codes they would lose their labels"
REPLACEMENTS = f"{TEMPORARY}replacements"  # folder in the store for parts that will replace others
GRID = 512  # rows and columns in the paper: with others, a threshold in pixels is another area


def prepare(
    scans: Path,
    out: Path,
    *,
    codes: Path | str | None = None,
    salt: str,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> PrepareReport:
    """The report on every file in `scans`, after the slices of all usable scans are stored as parts in `out`.

    A scan whose part exists, is intact and was made from the same files with the same settings is kept; any other is
    converted. A stored part is replaced only by the same file, modified, or by the same slices from another place:
    `a/p1/ct.nii.gz` and `b/p1/ct.nii.gz` have the same path below the input folder but may be two people. Without codes
    a labelled part is never replaced, because the new one would have no labels.

    A scan that breaks a rule or duplicates another scan (`find_duplicates`) is quarantined; the run continues.

    Parameters
    ----------
    scans : path
        A folder, which is searched with all its subfolders, or one file.
    out : path
        Folder of the slice store.
    codes : path or str, optional
        TOML table of label codes, or the name of a shipped one ("phantom", "cip"). Without it label maps are not read.
    salt : str
        The workspace's salt for the hashes of patients and series.
    workers : int, optional
        Number of processes; one per core by default.

    Raises
    ------
    InputError
        If `scans` holds no file, `codes` is no valid table, or `out` was written with another salt.
    """
    table = None if codes is None else Codes.load(codes)
    if not salt:
        raise InputError("salt must not be empty: identities are hashed with it")
    scans, out = Path(scans), Path(out)
    found = discover(scans, labels=table is not None, workers=workers, progress=progress)
    report = PrepareReport(quarantined=list(found.quarantined), ignored=list(found.ignored))
    if codes is not None:  # the table may be in the folder of the scans
        report.ignored = [
            replace(unused, reason="the table of label codes") if unused.source == Path(codes) else unused
            for unused in report.ignored
        ]
    base = scans if scans.is_dir() else scans.parent
    with writing_parts(out, key_of("slices", FORMAT, SIZE, WINDOWS, hashed("salt", salt))) as parts:
        run = _Run(parts, report, out, base, table, salt, progress)
        for scan in found.scans:
            run.plan(scan)
        run.convert(workers)
        run.quarantine_duplicates(found.scans)
        run.drop_refused()
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
    progress: Progress
    tasks: list[Task] = field(default_factory=list)
    foreign: set[str] = field(default_factory=set)  # parts from other files whose name a refused scan shares

    def plan(self, scan: Scan) -> None:
        """Decides whether the scan's stored part is kept, replaced, or made for the first time."""
        try:
            key = self._key(scan)
        except OSError as error:  # deleted since discovery; its part, if any, stays
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
                died = Outcome(reason="its worker process was killed (out of memory?)")
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
            if name in here:
                self.report.prepared.remove(here[name])
                self._quarantine(by_name[name], reason)
            else:
                self.report.quarantined.append(Unused(self.parts.path(name), reason, files=0))
        if reasons:
            self.parts.drop(*sorted(reasons))

    def drop_refused(self) -> None:
        """Removes the parts of scans that an earlier run prepared and this one refused."""
        refused = {hashed(unused.series, self.salt) for unused in self.report.quarantined if unused.series}
        if stale := (refused & set(self.parts.rows)) - self.foreign:
            self.parts.drop(*sorted(stale))

    def _add_task(self, scan: Scan, key: str, out: Path, *, same_slices: bool = False) -> None:
        self.tasks.append(Task(scan, self.codes, self.salt, self.out, out, key, same_slices))

    def _record(self, task: Task, outcome: Outcome) -> None:
        scan = task.scan
        if outcome.kept:
            self._keep(scan, self.parts.rows[self._name(scan)], KEPT_LABELS)
        elif outcome.row is None:
            if task.same_slices:
                self.foreign.add(self._name(scan))
            self._quarantine(scan, outcome.reason)
        else:
            if task.out == self.out:
                self.parts.add(outcome.row)
            else:
                self.parts.replace(outcome.row, task.out)
            self._add_prepared(scan, outcome.row, outcome.labelled, kept=False)

    def _keep(self, scan: Scan, row: Row, *notes: str) -> None:
        self._add_prepared(scan, row, self._is_labelled(row), *notes, kept=True)

    def _add_prepared(self, scan: Scan, row: Row, labelled: bool, *notes: str, kept: bool) -> None:
        self.report.prepared.append(
            Prepared(
                source=scan.source,
                kind=scan.kind,
                patient=hashed(scan.patient, self.salt),
                series=row.name,
                slices=row.count,
                labelled=labelled,
                label=None if scan.label is None else scan.label.path,
                kept=kept,
                notes=(*_notes(scan, labelled), *notes),
            )
        )

    def _quarantine(self, scan: Scan, reason: str) -> None:
        files = len(scan.files) + (scan.label is not None)
        self.report.quarantined.append(Unused(scan.source, reason, files, scan.series))

    def _is_labelled(self, row: Row) -> bool:
        with self.parts.open(row.name) as file:
            return bool(file.attrs["labelled"])

    def _name(self, scan: Scan) -> str:
        """Name of the scan's part."""
        return hashed(scan.series, self.salt)

    def _key(self, scan: Scan) -> str:
        """Fingerprint of what the part is made from: files by name, size and time, and the meaning of the labels.

        For a volume file, whose identity is only its path below the input folder, the hashed absolute path and a dash
        precede it.
        """
        label = [] if scan.label is None else [scan.label.path]
        files = [
            (path.relative_to(self.base).as_posix(), (stat := path.stat()).st_size, stat.st_mtime_ns)
            for path in [*scan.files, *label]
        ]
        key = key_of(files, self.codes.settings() if label and self.codes is not None else None)
        return key if scan.dicom is not None else f"{hashed(str(scan.source.resolve()), self.salt)}-{key}"


def _from_another_file(row: Row, scan: Scan, key: str) -> bool:
    """Whether the stored part was made from a volume file with another absolute path."""
    return scan.dicom is None and row.key.partition("-")[0] != key.partition("-")[0]


def _notes(scan: Scan, labelled: bool) -> list[str]:
    notes = []
    if (grid := scan.geometry.shape[1:]) != (GRID, GRID):
        notes.append(f"slices are {grid[0]}×{grid[1]}, not {GRID}×{GRID}: a threshold in pixels is another area")
    if scan.patients_in_study > 1:
        notes.append(f"its study has scans of {scan.patients_in_study} patients: one person must have one PatientID")
    if scan.unreadable:
        notes.append(f"unreadable files in its folder: {scan.unreadable}; slices at its ends may be missing")
    if scan.label is not None and not labelled:
        notes.append(f"{scan.label.path.name} labels neither healthy lung nor a pattern: the scan counts as unlabelled")
    return notes
