"""Labels of single slices from a CSV file: which patterns a slice shows, without a label map.

Columns: `series` (SeriesInstanceUID) or `scan` (path of the scan's file or folder, relative to the CSV file) with
`position` (mm along the slice normal towards the head) or `instance` (DICOM InstanceNumber); or `file`, the path of a
DICOM file of one slice. Then one column per pattern with 1 (shown), 0 (not shown) or nothing (unknown), or a column
"<pattern> pixels" with pixel counts on the scan's grid. A pattern without a column is unknown.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ildfv.datasets.identity import hashed
from ildfv.datasets.slice_positions import Place, position_of_file, positions_by_instance
from ildfv.datasets.slice_store import Slices
from ildfv.errors import InputError, check
from ildfv.patterns import ABSENT, PATTERNS, PRESENT, UNLABELLED
from ildfv.store.atomic import key_of

PIXELS = " pixels"  # suffix of a column of counts
WHERE = ("position", "instance", "file")
SCANS = ("series", "scan")
VALUES = {"": UNLABELLED, "0": ABSENT, "1": PRESENT}


@dataclass
class SliceLabels:
    """Counts (4,) of labelled slices by series (salted hash) and index of the slice in its scan."""

    counts: dict[str, dict[int, list[int]]] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(map(len, self.counts.values()))

    def to_dict(self) -> dict:
        """JSON values; identities are salted hashes."""
        return {
            series: {str(i): row for i, row in sorted(rows.items())} for series, rows in sorted(self.counts.items())
        }

    @classmethod
    def from_dict(cls, values: Mapping) -> SliceLabels:
        """The labels of `to_dict`."""
        return cls({series: {int(i): list(row) for i, row in rows.items()} for series, rows in values.items()})

    def apply(self, slices: Slices) -> Slices:
        """The slices with these labels, in place; their key then depends on the labels. InputError: a scan is gone."""
        for series, rows in self.counts.items():
            check(
                series in slices.parts,
                f"slice labels must be of prepared scans, got series {series}: run `ildfv prepare --labels` again",
            )
            part = slices.names.index(series)
            first, size = slices.starts[part], slices.sizes[part]
            check(max(rows) < size, f"slice labels of series {series} must be below {size}, got {max(rows)}")
            slices.counts[first + np.array(list(rows))] = np.array(list(rows.values()), np.int32)
            slices.scans("labelled")[part] = True
        slices.key = key_of(slices.key, self.to_dict())
        return slices


def read_slice_labels(
    path: Path,
    slices: Slices,
    sources: Mapping[str, Path],
    salt: str,
    original: Callable[[Path], Path] = lambda source: source,
) -> SliceLabels:
    """The labels in a CSV file, assigned to prepared slices.

    Parameters
    ----------
    path : path
        The CSV file, UTF-8, comma-separated, with a header.
    slices : Slices
        The prepared slices.
    sources : mapping
        Source (file or folder) of each prepared scan by its series, a salted hash.
    salt : str
        The workspace's salt.
    original : callable
        The path of a source as users write it.

    Raises
    ------
    InputError
        A file or column that breaks a rule above; a row of an unknown scan or slice, of a scan with a label map, or of
        a slice that another row labels too. The line is named.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"labels must be a readable CSV file in UTF-8, got {path}: {error}") from error
    reader = csv.DictReader(text.splitlines())
    columns = [(name or "").strip().lower() for name in reader.fieldnames or []]
    reader.fieldnames = columns
    patterns = _pattern_columns(path, columns)
    where, scan = _key_columns(path, columns)
    series_of = {original(source).resolve(): series for series, source in sources.items()}
    instances: dict[str, dict[int, Place]] = {}
    found = SliceLabels()
    for row in reader:
        line = f"{path}, line {reader.line_num}"
        value = (row[where] or "").strip()
        try:
            if where == "file":
                place = position_of_file(Path(path).parent / value)
                series = hashed(place.series, salt)
            else:
                series = _series(scan, (row[scan or ""] or "").strip(), Path(path).parent, series_of, salt)
                check(series in sources, f"{scan} must be one of a prepared scan, got {row[scan or '']!r}")
                if where == "instance":
                    if series not in instances:
                        instances[series] = positions_by_instance(sources[series], series, salt)
                    number = _number(value, "instance", integer=True)
                    check(number in instances[series], f"instance must be one of the series, got {value}")
                    place = instances[series][int(number)]
                else:
                    place = Place("", _number(value, "position"))
            index = _index(slices, series, place.position)
            counts = _counts(row, patterns)
            rows = found.counts.setdefault(series, {})
            check(index not in rows, "a slice must have one row, got a second one")
            rows[index] = counts
        except InputError as error:
            raise InputError(f"{line}: {error}") from error
    check(len(found) > 0, f"{path} must label at least one slice, got none")
    return found


def _pattern_columns(path: Path, columns: Sequence[str]) -> dict[int, tuple[str, bool]]:
    """(column, whether it holds counts) by index of the pattern."""
    patterns: dict[int, tuple[str, bool]] = {}
    for column in columns:
        name = column.replace("_", " ").replace("-", " ")
        pattern = name.removesuffix(PIXELS)
        if pattern in PATTERNS:
            k = PATTERNS.index(pattern)
            check(k not in patterns, f"{path} must have one column for {pattern}, got two")
            patterns[k] = (column, name.endswith(PIXELS))
        else:
            known = ", ".join([*SCANS, *WHERE, *PATTERNS])
            check(column in (*SCANS, *WHERE), f'{path} must have columns from {known}, got "{column}"')
    check(bool(patterns), f"{path} must have a column for a pattern ({', '.join(PATTERNS)}), got none")
    return patterns


def _key_columns(path: Path, columns: Sequence[str]) -> tuple[str, str | None]:
    """The column that names the slice, and the one that names its scan (None with "file")."""
    where, scan = ([c for c in names if c in columns] for names in (WHERE, SCANS))
    check(len(where) == 1, f"{path} must have one of the columns {', '.join(WHERE)}, got {', '.join(where) or 'none'}")
    if where[0] == "file":
        check(not scan, f"{path} must have no column {scan and scan[0]} with file, which identifies the scan")
        return "file", None
    check(len(scan) == 1, f"{path} must have one of the columns {', '.join(SCANS)}, got {', '.join(scan) or 'none'}")
    return where[0], scan[0]


def _series(kind: str | None, value: str, folder: Path, series_of: Mapping[Path, str], salt: str) -> str:
    """The salted hash of the series that a row names; "" if no prepared scan has that path."""
    return hashed(value, salt) if kind == "series" else series_of.get((folder / value).resolve(), "")


def _index(slices: Slices, series: str, position: float) -> int:
    """The index in its scan of the slice at this position, in mm."""
    check(series in slices.parts, "the slice must be of a prepared scan, got one of another series")
    part = slices.names.index(series)
    check(not slices.scans("labelled")[part], "the scan must have no label map, got one: labels would contradict it")
    positions = slices.positions[slices.starts[part] : slices.starts[part + 1]]
    gaps = np.abs(positions - position)
    nearest = int(gaps.argmin())
    limit = float(np.diff(positions).min()) / 4 if len(positions) > 1 else 0.5  # a quarter of the slice spacing
    check(
        gaps[nearest] <= limit,
        f"position must be that of a slice ({positions[0]:g} … {positions[-1]:g} mm), got {position:g}",
    )
    return nearest


def _counts(row: Mapping[str, str | None], patterns: Mapping[int, tuple[str, bool]]) -> list[int]:
    """The counts (4,) of a row; `PRESENT`, `ABSENT` and `UNLABELLED` for presence."""
    counts = [UNLABELLED] * len(PATTERNS)
    for k, (column, is_count) in patterns.items():
        value = (row[column] or "").strip()
        if is_count and value:
            counts[k] = int(_number(value, column, integer=True))
            check(0 <= counts[k] < PRESENT, f"{column} must be at least 0 and below {PRESENT}, got {value}")
        else:
            check(value in VALUES, f"{column} must be 0, 1 or empty, got {value!r}")
            counts[k] = VALUES[value]
    return counts


def _number(value: str, name: str, *, integer: bool = False) -> float:
    try:
        number = float(value)
    except ValueError:
        number = np.nan
    kind = "an integer" if integer else "a finite number"
    check(bool(np.isfinite(number)) and not (integer and number % 1), f"{name} must be {kind}, got {value!r}")
    return number
