"""Labels of whole scans from a CSV file (`label_file`): the patterns that a scan shows, but not on which slices.

1: at least one slice of the scan shows the pattern. 0: no slice does. Empty: unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ildfv.datasets.identity import hashed
from ildfv.datasets.label_columns import FILE, PATIENT, SERIES
from ildfv.datasets.label_file import LabelFile, LabelRow
from ildfv.datasets.planned_slices import PlannedSlices
from ildfv.datasets.slice_store import Slices
from ildfv.errors import InputError, check
from ildfv.patterns import ABSENT, PRESENT, UNLABELLED
from ildfv.store.atomic import key_of
from ildfv.store.checksummed import read_checksummed, write_checksummed

KIND, VERSION = "ildfv scan labels", 1  # of scan-labels.json
VALUES = {UNLABELLED: -1, ABSENT: 0, PRESENT: 1}  # presence for each count of a row
BOTH = "a study must have labels of scans or of slices, not both"


@dataclass
class ScanLabels:
    """The presence of each pattern, 1, 0 or −1 (unknown), (4,), by series (salted hash)."""

    presence: dict[str, list[int]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.presence)

    def to_dict(self) -> dict[str, list[int | None]]:
        """JSON values: 1, 0 or null by pattern; identities are salted hashes."""
        return {
            series: [None if value < 0 else value for value in row] for series, row in sorted(self.presence.items())
        }

    @classmethod
    def from_dict(cls, values: Mapping) -> ScanLabels:
        """The labels from values that `to_dict` returned."""
        return cls({series: [-1 if value is None else int(value) for value in row] for series, row in values.items()})

    @classmethod
    def read(cls, path: Path) -> ScanLabels:
        """The labels in scan-labels.json. Raises `InputError` if the file is corrupt or of another version."""
        content = read_checksummed(path)
        kind, version = content.get("kind"), content.get("version")
        rule = f"{path} must be {KIND} of version {VERSION}"
        check((kind, version) == (KIND, VERSION), f"{rule}, got {kind} of version {version}: update ildfv")
        return cls.from_dict(content["labels"])

    def write(self, path: Path) -> None:
        """Writes scan-labels.json."""
        write_checksummed(path, {"kind": KIND, "version": VERSION, "labels": self.to_dict()})

    def apply(self, slices: Slices) -> Slices:
        """Sets these labels on `slices` in place, changes its key and returns it.

        If a scan does not show a pattern, all its slices have 0 pixels of the pattern; all other counts are unknown.
        Raises `InputError` if a scan is missing, or if any scan of `slices` has a label map.
        """
        found = np.full((len(slices.names), len(slices.counts.T)), -1, np.int8)
        for series, row in self.presence.items():
            check(
                series in slices.parts,
                f"scan labels must refer to prepared scans, got series {series}: run `ildfv prepare --labels` again",
            )
            found[slices.names.index(series)] = row
        n_mapped = int(slices.scans("labelled").sum())
        check(n_mapped == 0, f"{BOTH}, got labels of scans ({len(self)}) and label maps ({n_mapped})")
        slices.counts[:] = np.where(np.repeat(found, slices.sizes, axis=0) == 0, ABSENT, UNLABELLED)
        slices.scan_labels = found
        slices.key = key_of(slices.key, {"scans": self.to_dict()})
        return slices


def names_scans(labels: LabelFile, slices: Slices | PlannedSlices, series_of: Callable[[LabelRow], list[str]]) -> bool:
    """Whether the rows label scans: no column names a slice, and a row names a patient or a scan of several slices.

    If rows name scans by series or path and each has one slice, their labels are labels of slices.
    """
    if labels.scan == FILE or labels.where:
        return False
    if labels.scan == PATIENT:
        return True
    sizes = dict(zip(slices.names, slices.sizes, strict=True))
    return any(sizes.get(series, 1) > 1 for row in labels.rows for series in series_of(row))


def series_finder(
    labels: LabelFile,
    slices: Slices | PlannedSlices,
    sources: Mapping[str, Path],
    salt: str,
    original: Callable[[Path], Path],
) -> Callable[[LabelRow], list[str]]:
    """A function that returns the series (salted hashes) of the prepared scans that a row names.

    The parameters are those of `slice_labels.assign_labels`.
    """
    by_path = {original(source).resolve(): series for series, source in sources.items()}
    of_patient: dict[str, list[str]] = {}
    if labels.scan == PATIENT:
        for series, patient in zip(slices.names, slices.scans("patient"), strict=True):
            if series in sources:
                of_patient.setdefault(str(patient), []).append(series)

    def series_of(row: LabelRow) -> list[str]:
        if labels.scan == PATIENT:
            return of_patient.get(hashed(row.name, salt), [])
        series = hashed(row.name, salt) if labels.scan == SERIES else by_path.get(labels.named(row), "")
        return [series] if series in sources else []

    return series_of


def assign_scan_labels(
    labels: LabelFile,
    slices: Slices | PlannedSlices,
    series_of: Callable[[LabelRow], list[str]],
    is_refused: Callable[[Path | str], bool],
) -> tuple[ScanLabels, int]:
    """The labels of a file, assigned to prepared scans, and the number of rows that were skipped.

    A row is skipped if its scan is quarantined.

    series_of: from `series_finder`. is_refused: whether a path, series or patient belongs to a quarantined scan.

    Raises
    ------
    InputError
        The message on a row names its line: the row does not name exactly one prepared scan, another row labels its
        scan, or its scan has a label map. Or the file has pixel counts, or labels no prepared scan.
    """
    check(
        not labels.has_counts,
        f"{labels.path} must have no column of pixel counts, because rows name scans, not slices: name "
        "slices in a further column, position or instance, or give 0, 1 or nothing for each pattern",
    )
    found, refused = ScanLabels(), 0
    lines: dict[str, int] = {}
    for row in labels.rows:
        where = f"{labels.path}, line {row.line}"
        names = series_of(row)
        if not names and is_refused(labels.named(row) if labels.scan not in (SERIES, PATIENT) else row.name):
            refused += 1
            continue
        what = "the patient of a prepared scan" if labels.scan == PATIENT else "a prepared scan"
        base = "" if labels.scan in (SERIES, PATIENT) else f"; {labels.base}"
        check(bool(names), f"{where}: {labels.scan} must name {what}, got {row.name!r}{base}")
        several = f"{where}: patient must have one scan, got {len(names)} scans of {row.name!r}"
        check(len(names) == 1, f"{several}: name each scan in a column series or scan")
        (series,) = names
        first = lines.setdefault(series, row.line)
        rule = f"{where}: a scan must have only one row, got a second row (the first is line {first})"
        check(first == row.line, f"{rule}: delete one or, to label single slices, add a column position or instance")
        mapped = bool(slices.scans("labelled")[slices.names.index(series)])
        rule = f"{where}: a scan with a scan label must have no label map, got one: remove the row or the label map"
        check(not mapped, rule)
        found.presence[series] = [VALUES[count] for count in row.counts]
    if not any(max(row) >= 0 for row in found.presence.values()):
        raise InputError(f"{labels.path} must label at least one prepared scan, got none")
    return found, refused
