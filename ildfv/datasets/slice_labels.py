"""Assignment of the labels in a CSV file (`label_file`) to prepared slices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ildfv.datasets.identity import hashed
from ildfv.datasets.label_columns import FILE, INSTANCE, SERIES
from ildfv.datasets.label_file import LabelFile, LabelRow, number
from ildfv.datasets.planned_slices import PlannedSlices
from ildfv.datasets.slice_positions import Place, position_of_file, positions_by_instance
from ildfv.datasets.slice_store import Slices
from ildfv.errors import InputError, check
from ildfv.patterns import PATTERNS, PRESENT
from ildfv.scans.images import is_image
from ildfv.store.atomic import key_of

UNPREPARED = "the slice must belong to a prepared scan, got a slice of a series that is not prepared"


@dataclass
class SliceLabels:
    """For each labelled slice, the counts (4,) as in `LabelRow`, by series (salted hash) and index in its scan."""

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
        """The labels from values that `to_dict` returned."""
        return cls({series: {int(i): list(row) for i, row in rows.items()} for series, rows in values.items()})

    def apply(self, slices: Slices) -> Slices:
        """Sets these labels on `slices` in place, changes its key and returns it.

        Raises `InputError` if a scan is missing, or if an index is not below its number of slices.
        """
        for series, rows in self.counts.items():
            check(
                series in slices.parts,
                f"slice labels must refer to prepared scans, got series {series}: run `ildfv prepare --labels` again",
            )
            part = slices.names.index(series)
            first, size = slices.starts[part], slices.sizes[part]
            check(max(rows) < size, f"indices in slice labels of series {series} must be below {size}, got {max(rows)}")
            slices.counts[first + np.array(list(rows))] = np.array(list(rows.values()), np.int32)
            slices.scans("labelled")[part] = True
        slices.key = key_of(slices.key, self.to_dict())
        return slices


def assign_labels(
    labels: LabelFile,
    slices: Slices | PlannedSlices,
    sources: Mapping[str, Path],
    salt: str,
    *,
    original: Callable[[Path], Path] = lambda source: source,
    is_refused: Callable[[Path | str], bool] = lambda name: False,
) -> tuple[SliceLabels, int]:
    """The labels of a file, assigned to prepared slices, and the number of rows that were skipped.

    A row is skipped if its scan is quarantined.

    Parameters
    ----------
    labels : LabelFile
    slices : Slices or PlannedSlices
        The prepared slices, or the slices expected from the headers. Planned slices have a known size, and larger pixel
        counts are refused.
    sources : mapping
        Source (file or folder) of each prepared scan by its series, a salted hash.
    salt : str
        The workspace's salt.
    original : callable
        Returns the path that the user gave for a source.
    is_refused : callable
        Returns whether a path or series belongs to a quarantined scan, which cannot be labelled.

    Raises
    ------
    InputError
        A row does not name a slice of a prepared scan, its scan has a label map, another row already labels its slice,
        or a count is too large (the message names the line); or no row labels a prepared slice.
    """
    finder = _Finder(labels, slices, sources, salt, original)
    found, refused = SliceLabels(), 0
    lines: dict[tuple[str, int], int] = {}
    for row in labels.rows:
        name = row.name if labels.scan == SERIES else labels.named(row)
        try:
            if finder.series_of(row) is None and is_refused(name):
                refused += 1
                continue
            series, index = finder.slice_of(row)
            rows = found.counts.setdefault(series, {})
            first = lines.setdefault((series, index), row.line)
            rule = f"a slice must have only one row, got a second row (the first is line {first})"
            check(first == row.line, f"{rule}: delete one, or combine the labels of several readers in one row")
            finder.check_counts(row, series)
            rows[index] = row.counts
        except InputError as error:
            raise InputError(f"{labels.path}, line {row.line}: {error}") from error
    check(len(found) > 0, f"{labels.path} must label at least one prepared slice, got none")
    return found, refused


class _Finder:
    """Finds the slice to which each row of a label file refers."""

    def __init__(self, labels: LabelFile, slices, sources: Mapping[str, Path], salt: str, original: Callable):
        self.labels, self.slices, self.sources, self.salt = labels, slices, sources, salt
        self.by_path = {original(source).resolve(): series for series, source in sources.items()}
        self.instances: dict[str, dict[int, Place]] = {}

    def series_of(self, row: LabelRow) -> str | None:
        """The salted hash of the series that a row names; None if no prepared scan has it."""
        if self.labels.scan == SERIES:
            series = hashed(row.name, self.salt)
        else:
            series = self.by_path.get(self.labels.named(row), "")
            if not series and self.labels.scan == FILE:
                try:
                    series = hashed(position_of_file(self.labels.named(row)).series, self.salt)
                except InputError:
                    return None
        return series if series in self.sources else None

    def check_counts(self, row: LabelRow, series: str) -> None:
        """Raises `InputError` if a count exceeds the pixels of its slice. Only planned slices have a known size."""
        if not isinstance(self.slices, PlannedSlices):
            return
        rows, columns = self.slices.areas[series]
        for pattern, count in zip(PATTERNS, row.counts, strict=True):
            size = f"{rows} × {columns} = {rows * columns}"
            rule = f"the number of {pattern} pixels must not exceed the size of the slice ({size})"
            check(count == PRESENT or count <= rows * columns, f"{rule}, got {count}")

    def slice_of(self, row: LabelRow) -> tuple[str, int]:
        """Series and index of the slice that a row names."""
        series = self.series_of(row)
        if series is None and self.labels.scan == FILE:
            path = self.labels.named(row)
            check(path.is_file(), f"file must exist, got {row.name!r}; {self.labels.base}")
            rule = "file must be an image that `prepare` read"
            check(not is_image(path), f"{rule}, got {row.name!r}: check that it is in the scan folder")
            position_of_file(path)  # raises a specific error for a file that is not a slice
            raise InputError(UNPREPARED)
        if series is None:
            base = "" if self.labels.scan == SERIES else f"; {self.labels.base}"
            raise InputError(f"{self.labels.scan} must name a prepared scan, got {row.name!r}{base}")
        check(series in self.slices.parts, UNPREPARED)
        part = self.slices.names.index(series)
        check(
            not self._is_labelled(part),
            "a scan with slice labels must have no label map, got one: remove the rows of this scan, or its label map",
        )
        if not self.labels.where and self.slices.sizes[part] == 1:
            return series, 0
        return series, self._index(part, self._position(row, series))

    def _is_labelled(self, part: int) -> bool:
        """Whether label maps label the scan of a part."""
        if isinstance(self.slices, PlannedSlices):
            return self.slices.is_labelled(part)
        return bool(self.slices.scans("labelled")[part])

    def _position(self, row: LabelRow, series: str) -> float:
        """The position, in mm, of the slice that a row names."""
        if self.labels.scan == FILE:
            return position_of_file(self.labels.named(row)).position
        check(
            self.labels.where != "",
            f"a row must also state the position, instance or file of the slice, got only {row.name!r}",
        )
        if self.labels.where == INSTANCE:
            if series not in self.instances:
                self.instances[series] = positions_by_instance(self.sources[series], series, self.salt)
            instance = number(row.place, INSTANCE, integer=True)
            check(
                instance in self.instances[series], f"instance must be an InstanceNumber of the series, got {row.place}"
            )
            return self.instances[series][int(instance)].position
        return number(row.place, "position")

    def _index(self, part: int, position: float) -> int:
        """The index, in its scan, of the slice at a position in mm."""
        positions = self.slices.positions[self.slices.starts[part] : self.slices.starts[part + 1]]
        gaps = np.abs(positions - position)
        nearest = int(gaps.argmin())
        limit = float(np.diff(positions).min()) / 4 if len(positions) > 1 else 0.5  # a quarter of the slice spacing
        check(
            gaps[nearest] <= limit,
            f"position must be within {limit:g} mm of a slice, got {position:g}: the nearest slice is at "
            f"{positions[nearest]:g} mm",
        )
        return nearest
