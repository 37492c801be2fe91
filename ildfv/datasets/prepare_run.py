"""One run of `prepare`, which keeps, replaces or removes stored parts and records the outcomes in the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ildfv.datasets.convert import Outcome, Task, convert_scan
from ildfv.datasets.duplicates import find_duplicates
from ildfv.datasets.identity import hashed
from ildfv.datasets.part_key import is_from_another_file, part_key
from ildfv.datasets.records import Scan, Unused
from ildfv.datasets.report import Prepared, PrepareReport, Removed
from ildfv.datasets.scan_notes import scan_notes
from ildfv.datasets.settings import ScanSettings
from ildfv.datasets.unpacked import Unpacked
from ildfv.errors import linked
from ildfv.patterns import labelled_slices
from ildfv.progress import Progress
from ildfv.store.atomic import TEMPORARY, sweep
from ildfv.store.parts import Row, WritableParts
from ildfv.streaming.processes import Died, as_completed

KEPT_LABELS = "labelled slices of an earlier run were kept: without --codes they would lose their labels"
NO_LABELS = "labelled slices of an earlier run were kept: this run found no labels for the scan"
KEPT_SLICES = "slices of an earlier run were kept"
REPLACEMENTS = f"{TEMPORARY}replacements"  # folder in the store for new parts that will replace stored parts


@dataclass
class PrepareRun:
    """One run of `prepare`: the open store, the report so far, and the scans to convert."""

    parts: WritableParts
    report: PrepareReport
    out: Path
    base: Path  # folder that the paths in keys are relative to
    settings: ScanSettings
    salt: str
    studies: Mapping[str, int]  # number of studies by patient
    view: Unpacked | None
    progress: Progress
    tasks: list[Task] = field(default_factory=list)
    earlier: frozenset[str] = field(init=False)  # names of the parts in the store before this run

    def __post_init__(self) -> None:
        self.earlier = frozenset(self.parts.rows)

    def plan(self, scan: Scan) -> None:
        """Decides whether the scan's stored part is kept, replaced, or made for the first time."""
        try:
            key = part_key(scan, self.settings, self.base, self.salt, self.view)
        except OSError as error:  # a file was deleted after the search; a stored part is kept
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
            self.progress.note(f"{parts.path(row.name)} is missing or corrupt: the scan is prepared again")
            self._add_task(scan, key, self.out / REPLACEMENTS, sha256=row.sha256)
        elif is_from_another_file(row, scan, key):
            self._add_task(scan, key, self.out / REPLACEMENTS, same_slices=True)
        elif self.settings.codes is None and parts.intact(row) and self._is_labelled(row):
            self._keep(scan, row, KEPT_LABELS)
        else:
            self._add_task(scan, key, self.out / REPLACEMENTS)

    def convert(self, workers: int | None) -> None:
        """Converts the planned scans and records the outcomes."""
        (self.out / REPLACEMENTS).mkdir()
        slices = sum(task.scan.geometry.shape[0] for task in self.tasks)
        with self.progress.task("Preparing slices", total=slices) as advance:
            for index, result in as_completed(convert_scan, self.tasks, workers):
                died = Outcome(reason=linked("its worker process was killed (out of memory?)", "out-of-memory"))
                self._record(self.tasks[index], died if result is Died else result)
                advance(self.tasks[index].scan.geometry.shape[0])
        sweep(self.out)  # removes REPLACEMENTS

    def quarantine_duplicates(self, scans: list[Scan]) -> None:
        """Removes duplicates, including those of earlier runs, from the store and quarantines their scans.

        If the copies have different patients, all other scans of the removed copy's patient are also removed and
        quarantined, as in `find_duplicates`.
        """
        prepared = {scan.series: scan for scan in self.report.prepared}
        by_name = {self._name(scan): scan for scan in scans}
        sources = {name: str(scan.source) for name, scan in prepared.items()}
        reasons = find_duplicates(self.parts, sources, self.progress.note, self.settings.same_patient)
        for name, reason in reasons.items():
            if name in self.earlier:
                self._report_removal(name, reason)
            if name in prepared:
                self.report.prepared.remove(prepared[name])
                self.report.quarantined.append(_unused(by_name[name], reason))
            else:
                self.report.quarantined.append(Unused(self.parts.path(name), reason, files=0))
        if reasons:
            self.parts.drop(*sorted(reasons))

    def refused(self, unused: Unused) -> Unused:
        """The entry of a refused scan, which an earlier run may have prepared.

        If its stored part is intact, the part is kept and the entry notes this. Otherwise the part is removed, because
        a store with a missing or corrupt part cannot be read.
        """
        row = self.parts.rows.get(hashed(unused.series, self.salt)) if unused.series else None
        if row is None:
            return unused
        if self.parts.intact(row):
            return replace(unused, reason=f"{unused.reason}; {KEPT_SLICES}: {row.count}")
        reason = "its part was missing or corrupt, and its scan cannot be prepared again"
        self._report_removal(row.name, f"{reason}: {unused.reason}")
        self.parts.drop(row.name)
        return unused

    def drop_unseparated(self, scans: list[Scan]) -> None:
        """Removes parts in which an earlier version of ildfv joined acquisitions that are now separate scans."""
        separate = {hashed(scan.dicom.series, self.salt) for scan in scans if scan.dicom and scan.dicom.acquisition}
        if stale := separate & set(self.parts.rows):
            for name in sorted(stale):
                self._report_removal(name, "it joined acquisitions that are now separate scans")
            self.parts.drop(*sorted(stale))

    def _add_task(self, scan: Scan, key: str, out: Path, *, same_slices: bool = False, sha256: str = "") -> None:
        self.tasks.append(
            Task(
                scan,
                self.settings.codes,
                self.salt,
                store=self.out,
                out=out,
                key=key,
                same_slices=same_slices,
                unlabelled_is_negative=self.settings.unlabelled_is_negative,
                hu=self.settings.hu,
                preparation=self.settings.preparation,
                sha256=sha256,
            )
        )

    def _record(self, task: Task, outcome: Outcome) -> None:
        """Adds the outcome of a task to the store and to the report."""
        scan = task.scan
        if outcome.kept:
            self._keep(scan, self.parts.rows[self._name(scan)], KEPT_LABELS)
        elif outcome.row is None:
            unused = _unused(scan, outcome.reason)
            # With `same_slices`, the stored part comes from another file, so this refusal does not concern it.
            self.report.quarantined.append(unused if task.same_slices else self.refused(unused))
        elif outcome.labelled_slices == 0 and self._has_labels(outcome.row.name):
            self._keep(scan, self.parts.rows[outcome.row.name], NO_LABELS)
        else:
            if task.out == self.out:
                self.parts.add(outcome.row)
            else:
                self.parts.replace(outcome.row, task.out)
            how = (outcome.resampled, outcome.changes)
            self._add_prepared(scan, outcome.row, outcome.labelled_slices, *how, kept=False)

    def _keep(self, scan: Scan, row: Row, *notes: str) -> None:
        """Reports a scan whose stored part is kept."""
        with self.parts.open(row.name) as file:
            labelled = labelled_slices(file["counts"][()])
            resampled, changes = (_text(file.attrs.get(name, "")) for name in ("resampled", "changes"))
        self._add_prepared(scan, row, labelled, resampled, changes, *notes, kept=True)

    def _add_prepared(
        self, scan: Scan, row: Row, labelled_slices: int, resampled: str, changes: str, *notes: str, kept: bool
    ) -> None:
        notes = (*filter(None, (resampled, changes)), *notes)
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
                resampled=resampled,
                notes=(
                    *scan_notes(
                        scan,
                        row.count,
                        labelled_slices,
                        self._studies(scan),
                        pixel_counts=self.settings.pixel_counts,
                    ),
                    *notes,
                ),
            )
        )

    def _report_removal(self, name: str, reason: str) -> None:
        self.report.removed.append(Removed(name, self.parts.rows[name].count, self._has_labels(name), reason))

    def _has_labels(self, name: str) -> bool:
        """Whether the store has an intact part of this name with labels."""
        row = self.parts.rows.get(name)
        return row is not None and self.parts.intact(row) and self._is_labelled(row)

    def _studies(self, scan: Scan) -> int:
        """Number of studies with the scan's PatientID; 0 if the patient is not identified by the PatientID."""
        by_id = scan.dicom is not None and self.settings.patient_source == "id"
        return self.studies.get(scan.patient, 0) if by_id else 0

    def _is_labelled(self, row: Row) -> bool:
        with self.parts.open(row.name) as file:
            return bool(file.attrs["labelled"])

    def _name(self, scan: Scan) -> str:
        """Name of the scan's part."""
        return hashed(scan.series, self.salt)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _unused(scan: Scan, reason: str) -> Unused:
    return Unused(scan.source, reason, len(scan.files) + len(scan.labels), scan.series)
