"""Corrections of slice labels, in the CSV format that `ildfv prepare --labels` reads.

`prepare --labels` replaces all earlier labels of single slices. The file therefore contains both the labels in the
workspace and the corrections.
"""

from __future__ import annotations

import csv
import io
import math
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from ildfv.errors import check
from ildfv.parsing import read_csv
from ildfv.patterns import PATTERNS
from ildfv.store.atomic import write_bytes
from ildfv.viewer.scan import ViewedScan

COLUMNS = ("scan", "position", *PATTERNS)
CELLS = {1: "1", 0: "0", None: ""}
Values = list[int | None]  # per pattern: 1 present, 0 absent, None unknown


class Corrections:
    """The labels of single slices in the file `path`, which is read and written at each change.

    stored: labels in the workspace, by (index of the scan, index of the slice). A correction replaces the labels of its
    slice. InputError: the file exists but is not a file of corrections, also in all methods.
    """

    def __init__(self, path: Path, scans: Sequence[ViewedScan], stored: Mapping[tuple[int, int], Values] | None = None):
        self.path, self.scans, self.version = Path(path), scans, 0
        self._stored = {self._key(*place): list(values) for place, values in (stored or {}).items()}
        self._lock = threading.Lock()
        self._read()  # so that an invalid file is reported before the page is served

    def of_scan(self, number: int) -> dict[int, Values]:
        """The corrected slices of a scan, without those whose labels equal the labels in the workspace."""
        with self._lock:
            rows = self._read()
        own = {key: values for key, values in rows.items() if values != self._stored.get(key)}
        keys = {self._key(number, z): z for z in range(len(self.scans[number]))} if self.scans[number].source else {}
        return {keys[key]: values for key, values in own.items() if key in keys}

    def set(self, number: int, z: int, values: Values | None) -> None:
        """Labels slice z of a scan, or restores the labels in the workspace (None), and writes the file.

        InputError: the scan cannot be corrected, there is no such slice, or the values are not labels.
        """
        scan = self.scans[number]
        check(scan.source is not None, f"the scan cannot be corrected: {scan.not_correctable}")
        check(0 <= z < len(scan), f"slice must be in [0, {len(scan)}), got {z}")
        if values is not None:
            check(
                len(values) == len(PATTERNS) and all(type(v) in (int, type(None)) and v in CELLS for v in values),
                f"values must be a list of {len(PATTERNS)} values, each 1, 0 or null, got {values}",
            )
        key = self._key(number, z)
        with self._lock:
            rows = self._read()
            rows.pop(key, None)
            if values is not None and any(value is not None for value in values):
                rows[key] = values
            elif key in self._stored:
                rows[key] = self._stored[key]
            self._write(rows)
            self.version += 1

    def _key(self, number: int, z: int) -> tuple[str, str]:
        return str(self.scans[number].source), f"{self.scans[number].positions[z]:.4f}"

    def _read(self) -> dict[tuple[str, str], Values]:
        """Labels by (scan, position): those in the workspace, replaced by those in the file.

        InputError: the file is not a file of corrections.
        """
        rows = dict(self._stored)
        if not self.path.exists():
            return rows
        lines = [row for _, row in read_csv(self.path)[1]]
        rule = f"{self.path} must be a file of corrections, with the columns {', '.join(COLUMNS)}"
        check(
            bool(lines) and tuple(lines[0]) == COLUMNS,
            f"{rule}, got another file: choose another path with --corrections",
        )
        values_of = {cell: value for value, cell in CELLS.items()}
        for number, line in enumerate(lines[1:], 2):
            good = len(line) == len(COLUMNS) and all(cell in values_of for cell in line[2:]) and _is_number(line[1])
            check(good, f"{self.path}, row {number} must have a scan, a position and labels 1, 0 or empty, got {line}")
            rows[line[0], line[1]] = [values_of[cell] for cell in line[2:]]
        return rows

    def _write(self, rows: Mapping[tuple[str, str], Values]) -> None:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for (scan, position), values in sorted(rows.items(), key=lambda row: (row[0][0], float(row[0][1]))):
            writer.writerow([scan, position, *(CELLS[value] for value in values)])
        # Private: the paths may identify patients.
        write_bytes(self.path, text.getvalue().encode("utf-8"), private=True)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
