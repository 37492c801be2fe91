"""DICOM CT series: slices sorted by position, checked, and read as one volume in Hounsfield units."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ildfv.errors import InputError, MissingPackageError
from ildfv.scans.geometry import Geometry, checked, to_canonical
from ildfv.scans.headers import Frame, Header
from ildfv.scans.libraries import format_error
from ildfv.scans.pixels import padding_mask, stored_values
from ildfv.scans.volume import Volume, as_hounsfield, canonical_volume, check_size
from ildfv.store.atomic import sha256

GAP_TOLERANCE = 0.1  # relative deviation of a slice gap from the median gap, and of a slice from the line in pixels
COSINE_TOLERANCE = 1e-3  # difference between direction cosines of one series: only rounding
MIN_GAP = 0.01  # mm; slices closer than this have the same position


@dataclass(frozen=True)
class Series:
    """A CT series with consistent headers: frames in ascending order along the slice normal, and their grid."""

    frames: tuple[tuple[Path, Frame], ...]
    grid: Geometry  # axes: slices, rows, columns, as stored
    patient: str
    series: str
    study: str  # "" if absent
    copies: tuple[Path, ...]  # identical copies of other files, not read

    @property
    def geometry(self) -> Geometry:
        """The grid in canonical order."""
        return to_canonical(self.grid)[2]

    @property
    def files(self) -> list[Path]:
        return sorted({path for path, _ in self.frames})


def assemble(headers: list[Header]) -> Series:
    """The series of these files, which share a SeriesInstanceUID. Raises `InputError` with the rule that is broken."""
    bad = [header for header in headers if header.problem]
    if bad:
        n = len(bad) - 1
        more = f" (and {n} more file{'s' * (n > 1)} of the series)" if n else ""
        raise InputError(f"{bad[0].path.name}: {bad[0].problem}{more}")
    headers, copies = _without_copies(headers)
    for what in ("patient", "rows", "columns"):
        # File names instead of values: a PatientID identifies a person.
        found = {getattr(header, what): header.path.name for header in reversed(headers)}
        if len(found) > 1:
            name = "PatientID" if what == "patient" else what
            where = ", ".join(sorted(found.values())[:3])
            raise InputError(f"{name} must be the same in all slices of a series, got {len(found)} values: {where}")
    frames = [(header.path, frame) for header in headers for frame in header.frames]
    if len(spacings := {frame.spacing for _, frame in frames}) > 1:
        raise InputError(f"PixelSpacing must be the same in all slices of a series, got {sorted(spacings)[:3]}")
    row, column = _orientation([frame.orientation for _, frame in frames])
    normal = np.cross(row, column)
    frames.sort(key=lambda item: float(np.dot(item[1].position, normal)))
    step = _step(frames, normal)
    between_rows, between_columns = frames[0][1].spacing
    shape = (len(frames), headers[0].rows, headers[0].columns)
    check_size(shape)
    # ImageOrientationPatient: direction of the row (columns increase) first, then of the column (rows increase).
    grid = checked(shape, frames[0][1].position, [step, column * between_rows, row * between_columns])
    if to_canonical(grid)[0][0] != 0:
        raise InputError("a DICOM series must be axial, got a coronal or sagittal reformat: use the axial series")
    return Series(tuple(frames), grid, headers[0].patient, headers[0].series, headers[0].study, tuple(copies))


def read_series(series: Series) -> Volume:
    """The series as a volume. Raises `InputError` with the first slice that cannot be read."""
    from pydicom import dcmread

    volume = np.empty(series.grid.shape, np.int16)
    opened: Path | None = None
    for z, (path, frame) in enumerate(series.frames):
        try:
            if path != opened:  # a multi-frame file is opened once
                dataset, opened = dcmread(path), path
            stored = stored_values(dataset, frame.index)
            hu = as_hounsfield(stored, frame.slope, frame.intercept, padding_mask(dataset, stored))
        except (InputError, MissingPackageError) as error:
            raise type(error)(f"{path.name}: {error}") from error
        except Exception as error:  # a corrupt file can raise anything in the parser
            raise InputError(f"{path.name} must be readable DICOM, got {format_error(error)}") from error
        if hu.shape != series.grid.shape[1:]:
            raise InputError(f"{path.name} must have shape {series.grid.shape[1:]}, got {hu.shape}")
        if hu.dtype.kind == "f" and volume.dtype.kind == "i":
            volume = volume.astype(np.float32)
        volume[z] = hu
    return canonical_volume(volume, series.grid, series.patient, series.series, series.frames[0][0].parent)


def _without_copies(headers: list[Header]) -> tuple[list[Header], list[Path]]:
    """One file per SOPInstanceUID, and the identical copies. Raises `InputError` if files that share it differ."""
    kept: dict[str, Header] = {}
    copies = []
    for header in sorted(headers, key=lambda header: str(header.path)):
        first = kept.setdefault(header.instance, header)
        if first is header:
            continue
        if sha256(first.path) != sha256(header.path):
            raise InputError(
                f"{first.path.name} and {header.path.name} must not share a SOPInstanceUID, as their content differs"
            )
        copies.append(header.path)
    return list(kept.values()), copies


def _orientation(orientations: list[tuple[float, ...]]) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors along a row and along a column, the same for all slices."""
    values = np.array(orientations)  # (n, 6)
    apart = np.abs(values - values[0]).max()
    if apart > COSINE_TOLERANCE:
        kinds = Counter(tuple(value) for value in np.round(values, 2).tolist())
        shown = "; ".join(f"{n} slices {list(kind)}" for kind, n in kinds.most_common(3))
        raise InputError(f"ImageOrientationPatient must be the same in all slices of a series, got {shown}")
    row, column = values[0, :3], values[0, 3:]
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if max(abs(length - 1) for length in lengths) > 0.01 or abs(row @ column) > 0.01:
        raise InputError(f"ImageOrientationPatient must be two orthogonal unit vectors, got {values[0].tolist()}")
    return row / lengths[0], column / lengths[1]


def _step(frames: list[tuple[Path, Frame]], normal: np.ndarray) -> np.ndarray:
    """The vector from one slice to the next, mm (3,). Slices must be evenly spaced along one line."""
    if len(frames) == 1:
        thickness = frames[0][1].thickness
        if not thickness or not thickness > 0:
            raise InputError(f"SliceThickness must be above 0 in a series of one slice, got {thickness}")
        return normal * thickness
    positions = np.array([frame.position for _, frame in frames])  # (m, 3)
    along = positions @ normal
    gaps = np.diff(along)
    usual = float(np.median(gaps))
    if (gaps <= MIN_GAP).any():
        at = int(np.argmin(gaps))
        raise InputError(
            f"slices must have distinct positions, got {frames[at][0].name} and {frames[at + 1][0].name} "
            f"both at {along[at]:.2f} mm (pairs: {np.count_nonzero(gaps <= MIN_GAP)})"
        )
    odd = np.flatnonzero(np.abs(gaps - usual) > GAP_TOLERANCE * usual)
    if odd.size:
        at = odd[0]
        times = gaps[at] / usual
        missing = times > 1.5 and abs(times - round(times)) <= GAP_TOLERANCE
        raise InputError(
            f"slices must be evenly spaced ({usual:.3g} mm), got a gap of {gaps[at]:.3g} mm after {along[at]:.2f} mm "
            f"({f'slices missing: {round(times) - 1}' if missing else 'uneven spacing'}; deviating gaps: {odd.size})"
        )
    step = (positions[-1] - positions[0]) / (len(frames) - 1)
    line = positions[0] + np.arange(len(frames))[:, None] * step
    sideways = np.abs((positions - line) - np.outer((positions - line) @ normal, normal)).max()
    if sideways > GAP_TOLERANCE * min(frames[0][1].spacing):
        raise InputError(f"slice positions must be on one line, got an in-plane deviation of {sideways:.2f} mm")
    return step
