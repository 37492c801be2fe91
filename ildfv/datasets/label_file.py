"""A CSV file of labels of slices or scans, which is read and checked before any scan is read.

A row names a slice in one of two ways:

-   `file`: the path of a file with one slice (DICOM or image);
-   `scan` (path of the scan's file or folder) or `series` (SeriesInstanceUID), with `position` (mm along the slice
    normal, towards the head) or `instance` (DICOM InstanceNumber). For a scan of one slice, neither is needed.

Without `position` and `instance`, a row with `scan` or `series`, or with `patient` only, labels a scan of several
slices as a whole (`scan_labels`).

Paths are relative to the CSV file or to the folder of the scans; a file name can be sufficient (`label_paths`).

A column with the name of a pattern states whether the pattern is shown: 1, yes or true; 0, no or false; or unknown: an
empty cell, NaN, NA or <NA>. Instead, a column "<pattern> pixels" can have numbers of pixels of the scan's own grid. A
pattern without a column is unknown.

If rows also name files or scans, the patients in a column `patient` replace those from PatientIDs or folders.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ildfv.errors import InputError, check
from ildfv.parsing import read_csv
from ildfv.patterns import ABSENT, PATTERNS, PRESENT, UNLABELLED

PIXELS = " pixels"  # suffix of a column of counts
POSITION, INSTANCE, FILE = "position", "instance", "file"
SERIES, SCAN = "series", "scan"
PATIENT = "patient"
WHERE, SCANS = (POSITION, INSTANCE, FILE), (SERIES, SCAN)
# Values of a column of presence, compared regardless of case. "True" and "1.0" are written by pandas.
VALUES = {"": UNLABELLED, **dict.fromkeys(("0", "0.0", "no", "false"), ABSENT)}
VALUES |= dict.fromkeys(("1", "1.0", "yes", "true"), PRESENT)
UNKNOWN = ("nan", "na", "<na>")  # as pandas and R write an empty cell; compared regardless of case


@dataclass(frozen=True)
class LabelRow:
    """A row: line number, name of the scan or file, position or instance of the slice, patient and counts (4,)."""

    line: int
    name: str
    place: str  # position or instance; "" if the row names only a file or a scan
    patient: str
    counts: list[int]


@dataclass(frozen=True)
class LabelFile:
    """The rows of a label file, and a description of its columns.

    scan: the column that names the scan: "series", "scan", "file" or "patient". where: "position", "instance", or "" if
    rows name only a file or a scan. has_patients: whether a column assigns patients to scans. has_counts: whether a
    column has pixel counts. paths: the paths of names that are not relative to the file (`label_paths.located`).
    """

    path: Path
    scan: str
    where: str
    has_patients: bool
    rows: tuple[LabelRow, ...]
    has_counts: bool = False
    paths: Mapping[str, Path] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The folder that paths are relative to."""
        return self.path.parent

    def named(self, row: LabelRow) -> Path:
        """The resolved path that a row of a `file` or `scan` column names."""
        return self.paths.get(row.name) or (self.folder / row.name).resolve()

    def patients(self) -> dict[Path | str, str]:
        """The patient by path of a file or scan, or by series. Raises `InputError` unless each has one patient."""
        found: dict[Path | str, str] = {}
        for row in self.rows:
            where = f"{self.path}, line {row.line}"
            check(row.patient != "", f"{where}: patient must be given in every row, got none")
            name: Path | str = row.name if self.scan == SERIES else self.named(row)
            other = found.setdefault(name, row.patient)
            check(other == row.patient, f"{where}: {row.name} must have one patient, got {other!r} and {row.patient!r}")
        return found


def read_label_file(path: Path) -> LabelFile:
    """The label file with checked values. Whether its scans exist is not checked.

    Raises
    ------
    InputError
        A file, column or value that violates a rule in the module's docstring; the message names the line.
    """
    path = Path(path)
    try:
        _, lines = read_csv(path)
    except OSError as error:
        raise InputError(f"labels must be a readable CSV file, got {path}: {error.strerror}") from error
    columns = [name.strip().lower() for name in lines[0][1]] if lines else []
    repeated = sorted({name for name in columns if columns.count(name) > 1})
    check(not repeated, f"{path} must have each column once, got {', '.join(repeated)} twice")
    patterns = _pattern_columns(path, columns)
    scan, where = _key_columns(path, columns)
    rows = tuple(_rows(path, columns, lines[1:], scan, where, patterns))
    known = sum(any(count != UNLABELLED for count in row.counts) for row in rows)
    check(known > 0, f"{path} must label at least one slice or scan, got no known label (rows: {len(rows)})")
    has_patients = PATIENT in columns and scan != PATIENT
    return LabelFile(path, scan, where, has_patients, rows, any(is_count for _, is_count in patterns.values()))


def number(value: str, name: str, *, integer: bool = False) -> float:
    """The finite number in a cell of column `name`. integer: whether it must be an integer."""
    try:
        found = float(value)
    except ValueError:
        found = np.nan
    kind = "an integer" if integer else "a finite number"
    check(bool(np.isfinite(found)) and not (integer and found % 1), f"{name} must be {kind}, got {value!r}")
    return found


def _rows(
    path: Path,
    columns: Sequence[str],
    lines: Sequence[tuple[int, list[str]]],
    scan: str,
    where: str,
    patterns: Mapping[int, tuple[str, bool]],
) -> Iterator[LabelRow]:
    """Yields the rows of the file. An error names the line."""
    for line, row in lines:
        try:
            rule = f"a row must have one cell per column ({len(columns)}), got {len(row)}"
            check(len(row) == len(columns), rule)
            cells = {column: value.strip() for column, value in zip(columns, row, strict=True)}
            if not any(cells.values()):
                continue
            check(cells[scan] != "", f"{scan} must be given in every row, got none")
            place = cells.get(where, "")
            rule = f"{where} must be given in every row, got none"
            check(not where or place != "", f"{rule}: a file has labels of slices or of scans, not both")
            yield LabelRow(line, _slashed(cells[scan], scan), place, cells.get(PATIENT, ""), _counts(cells, patterns))
        except InputError as error:
            raise InputError(f"{path}, line {line}: {error}") from error


def _slashed(name: str, column: str) -> str:
    """The name with slashes instead of the backslashes of Windows, if the column contains paths."""
    return name.replace("\\", "/") if column not in (SERIES, PATIENT) and os.sep == "/" else name


def _pattern_columns(path: Path, columns: Sequence[str]) -> dict[int, tuple[str, bool]]:
    """For each index of a pattern, its column and whether the column holds counts."""
    patterns: dict[int, tuple[str, bool]] = {}
    for column in columns:
        name = column.replace("_", " ").replace("-", " ")
        pattern = name.removesuffix(PIXELS)
        if pattern in PATTERNS:
            k = PATTERNS.index(pattern)
            check(k not in patterns, f"{path} must have one column for {pattern}, got two")
            patterns[k] = (column, name.endswith(PIXELS))
        else:
            keys = (*SCANS, *WHERE, PATIENT)
            known = ", ".join([*keys, *PATTERNS])
            remedy = "delete the column, or give it one of these names"
            check(column in keys, f'{path}: columns must be among {known}, got "{column}": {remedy}')
    check(bool(patterns), f"{path} must have a column for a pattern ({', '.join(PATTERNS)}), got none")
    return patterns


def _key_columns(path: Path, columns: Sequence[str]) -> tuple[str, str]:
    """The column that names the scan, and the column that names the slice in the scan ("" if there is none)."""
    where, scan = ([c for c in names if c in columns] for names in (WHERE, SCANS))
    check(len(where) <= 1, f"{path} must have at most one of the columns {', '.join(WHERE)}, got {', '.join(where)}")
    if where == [FILE]:
        check(not scan, f"{path} must have the column {scan and scan[0]} or file, got both: omit one")
        return FILE, ""
    if not scan and not where and PATIENT in columns:
        return PATIENT, ""
    check(
        len(scan) == 1,
        f"{path} must have one of the columns {', '.join((*SCANS, FILE))}, got {', '.join(scan) or 'none'}",
    )
    return scan[0], where[0] if where else ""


def _counts(cells: Mapping[str, str], patterns: Mapping[int, tuple[str, bool]]) -> list[int]:
    """The counts (4,) of a row; `PRESENT`, `ABSENT` and `UNLABELLED` for presence."""
    counts = [UNLABELLED] * len(PATTERNS)
    for k, (column, is_count) in patterns.items():
        value = "" if cells[column].casefold() in UNKNOWN else cells[column]
        if is_count and value:
            counts[k] = int(number(value, column, integer=True))
            check(0 <= counts[k] < PRESENT, f"{column} must be at least 0 and below {PRESENT}, got {value}")
        else:
            check(value.casefold() in VALUES, f"{column} must be 0, 1 or empty, got {value!r}")
            counts[k] = VALUES[value.casefold()]
    return counts
