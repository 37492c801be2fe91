"""A CSV file of labels of slices or scans, which is read and checked before any scan is read.

The columns determine what every row labels:

-   with `file`, the path of a file with one slice (DICOM or image): this slice;
-   with `scan` (path of the scan's file or folder) or `series` (SeriesInstanceUID), and with `position` (mm along the
    slice normal, towards the head) or `instance` (DICOM InstanceNumber): one slice of the scan;
-   with `scan` or `series`, but neither `position` nor `instance`: the whole scan (`scan_labels`) or, if every scan in
    the file has one slice, this slice;
-   with `patient`, but none of the columns above: the only scan of the patient as a whole.

Every row must have a value in each of these columns that the file has. Paths are relative to the CSV file or to the
folder of the scans; a file name can be sufficient (`label_paths`).

A column with the name of a pattern states whether the pattern is shown (1, yes or true), is not shown (0, no or false)
or is unknown (an empty cell, NaN, NA or <NA>). Instead, a column "<pattern> pixels" can have numbers of pixels of the
scan's own grid. A pattern without a column is unknown. Other columns are not used (`label_columns`).

Numbers may have a decimal comma if the columns are not separated by commas.

If there is also a column `file`, `scan` or `series`, the patients in a column `patient` replace those from PatientIDs
or folders.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ildfv.columns import unused_note
from ildfv.datasets.label_columns import PATIENT, SERIES, UNKNOWN, VALUES, LabelColumns, label_columns
from ildfv.errors import InputError, check
from ildfv.parsing import read_csv
from ildfv.patterns import PATTERNS, PRESENT, UNLABELLED

DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")  # as spreadsheets in many countries write numbers


@dataclass(frozen=True)
class LabelRow:
    """A row: line number, name of the scan or file, position or instance of the slice, patient, and pixels per pattern.

    counts: (4,), number of pixels, or `PRESENT`, `ABSENT` or `UNLABELLED` if only the presence is stated.
    """

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
    column has pixel counts. paths: the resolved paths of the names that `label_paths.located` found in the folder of
    the scans. All other names are paths relative to the CSV file.
    unused: columns that are not used. missing: patterns without a column. ignored: patterns that have
    only columns that the user ignores.
    """

    path: Path
    scan: str
    where: str
    has_patients: bool
    rows: tuple[LabelRow, ...]
    has_counts: bool = False
    paths: Mapping[str, Path] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    def notes(self) -> list[str]:
        """Notes on the columns that are not used, and on the patterns without a column or without a known label."""
        notes = unused_note(self.path.name, self.unused)
        without = [p for k, p in enumerate(PATTERNS) if all(row.counts[k] == UNLABELLED for row in self.rows)]
        empty = [p for p in without if p not in (*self.missing, *self.ignored)]
        for patterns, why in (
            (self.missing, "has no column for"),
            (self.ignored, "has only ignored columns for"),
            (empty, "has no known label of"),
        ):
            if patterns:
                notes.append(f"{self.path.name} {why} {', '.join(patterns)}: the presence is unknown")
        return notes

    @property
    def folder(self) -> Path:
        """The folder of the CSV file."""
        return self.path.parent

    @property
    def base(self) -> str:
        """The part of a message that names the folders to which paths are relative."""
        return f"paths are relative to {self.folder} or to the folder of the scans"

    def named(self, row: LabelRow) -> Path:
        """The resolved path that a row of a `file` or `scan` column names."""
        return self.paths.get(row.name) or (self.folder / row.name).resolve()

    def patients(self) -> dict[Path | str, str]:
        """The patient by path of a file or scan, or by series. There must be a column `patient`.

        Raises `InputError` if a row has no patient, or if a file, scan or series has two patients.
        """
        found: dict[Path | str, str] = {}
        for row in self.rows:
            where = f"{self.path}, line {row.line}"
            check(row.patient != "", f"{where}: patient must be given in every row, got none")
            name: Path | str = row.name if self.scan == SERIES else self.named(row)
            other = found.setdefault(name, row.patient)
            check(other == row.patient, f"{where}: {row.name} must have one patient, got {other!r} and {row.patient!r}")
        return found


def read_label_file(path: Path, ignored: Iterable[str] = ()) -> LabelFile:
    """The label file with checked values. Whether its scans exist is not checked.

    ignored: names of columns that are not used, although their names or values resemble those of a column of labels.

    Raises
    ------
    InputError
        The file cannot be read, its columns are missing or unclear (`label_columns`), a row is invalid, or no label is
        known. The message on a row names its line.
    """
    path = Path(path)
    try:
        delimiter, lines = read_csv(path)
    except OSError as error:
        raise InputError(f"labels must be a readable CSV file, got {path}: {error.strerror}") from error
    check(bool(lines), f"{path} must have a row with the names of the columns, got an empty file")
    columns = label_columns(path, lines[0][1], [row for _, row in lines[1:]], ignored)
    rows = tuple(_rows(path, columns, lines[1:], decimal_comma=delimiter != ","))
    known = sum(any(count != UNLABELLED for count in row.counts) for row in rows)
    check(known > 0, f"{path} must label at least one slice or scan, got no known label (rows: {len(rows)})")
    return LabelFile(
        path,
        columns.scan,
        columns.where,
        PATIENT in columns.names and columns.scan != PATIENT,
        rows,
        any(is_count for _, is_count in columns.patterns.values()),
        unused=columns.unused,
        missing=tuple(columns.missing),
        ignored=columns.ignored,
    )


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
    path: Path, columns: LabelColumns, lines: Sequence[tuple[int, list[str]]], *, decimal_comma: bool
) -> Iterator[LabelRow]:
    """Yields the rows of the file. An error names the line."""
    scan, where, width = columns.scan, columns.where, len(columns.names)
    for line, row in lines:
        try:
            if not any(cell.strip() for cell in row):
                continue
            cells = {name: cell.strip() for name, cell in zip(columns.names, row, strict=False) if name}
            enough = len(row) >= width and not any(cell.strip() for cell in row[width:])
            rule = f"a row must have one cell per column ({width})"
            check(enough, f"{rule}, got {len(row)}: empty cells at the end of a row need their separators too")
            check(cells[scan] != "", f"{scan} must be given in every row, got none")
            place = cells.get(where, "")
            rule = f"{where} must be given in every row, got none"
            check(not where or place != "", f"{rule}: a file has labels of slices or of scans, not both")
            if decimal_comma:
                place = _with_point(place)
                cells |= {column: _with_point(cells[column]) for column, _ in columns.patterns.values()}
            counts = _counts(cells, columns.patterns)
            yield LabelRow(line, _slashed(cells[scan], scan), place, cells.get(PATIENT, ""), counts)
        except InputError as error:
            raise InputError(f"{path}, line {line}: {error}") from error


def _with_point(cell: str) -> str:
    """The cell with a decimal point instead of a decimal comma, if it is a number."""
    return cell.replace(",", ".") if DECIMAL_COMMA.fullmatch(cell) else cell


def _slashed(name: str, column: str) -> str:
    """The name with slashes instead of the backslashes of Windows, if the column contains paths."""
    return name.replace("\\", "/") if column not in (SERIES, PATIENT) and os.sep == "/" else name


def _counts(cells: Mapping[str, str], patterns: Mapping[int, tuple[str, bool]]) -> list[int]:
    """The counts of a row as in `LabelRow`."""
    counts = [UNLABELLED] * len(PATTERNS)
    for k, (column, is_count) in patterns.items():
        value = "" if cells[column].casefold() in UNKNOWN else cells[column]
        if is_count and value:
            counts[k] = int(number(value, column, integer=True))
            check(0 <= counts[k] < PRESENT, f"{column} must be at least 0 and below {PRESENT}, got {value}")
        else:
            rule = (
                f"{column} must be 1, yes or true if the pattern is shown, 0, no or false if not, or empty, NaN, NA or "
                "<NA> if unknown"
            )
            check(value.casefold() in VALUES, f"{rule}, got {value!r}")
            counts[k] = VALUES[value.casefold()]
    return counts
