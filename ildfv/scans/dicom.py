"""CT series in DICOM: slices put in order by where they lie, checked, and read as one volume of Hounsfield units."""

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

GAP_TOLERANCE = 0.1  # of the usual distance between slices: by so much a distance may differ from it
COSINE_TOLERANCE = 1e-3  # direction cosines of slices of one series may differ by rounding only
MIN_GAP = 0.01  # mm: slices closer than this lie at one position


@dataclass(frozen=True)
class Series:
    """A CT series whose headers make a volume: frames ascending along the slice normal, and the grid they lie on."""

    frames: tuple[tuple[Path, Frame], ...]
    grid: Geometry  # axes: slices, rows, columns, as stored
    patient: str
    series: str
    study: str  # "" where none is given
    copies: tuple[Path, ...]  # files left out because they equal another byte for byte

    @property
    def geometry(self) -> Geometry:
        """The grid in canonical order."""
        return to_canonical(self.grid)[2]

    @property
    def files(self) -> list[Path]:
        return sorted({path for path, _ in self.frames})


def assemble(headers: list[Header]) -> Series:
    """The series that these files of one SeriesInstanceUID make. Raises `InputError` with the rule they break."""
    bad = [header for header in headers if header.problem]
    if bad:
        n = len(bad) - 1
        more = f" (and {n} more file{'s' * (n > 1)} of the series)" if n else ""
        raise InputError(f"{bad[0].path.name}: {bad[0].problem}{more}")
    headers, copies = _without_copies(headers)
    for what in ("patient", "rows", "columns"):
        # One file each tells where to look; what it says may name a person.
        found = {getattr(header, what): header.path.name for header in reversed(headers)}
        if len(found) > 1:
            name = "PatientID" if what == "patient" else what
            where = ", ".join(sorted(found.values())[:3])
            raise InputError(f"{name} must be one for all slices of a series, got {len(found)} different: {where}")
    frames = [(header.path, frame) for header in headers for frame in header.frames]
    if len(spacings := {frame.spacing for _, frame in frames}) > 1:
        raise InputError(f"PixelSpacing must be one for all slices of a series, got {sorted(spacings)[:3]}")
    row, column = _orientation([frame.orientation for _, frame in frames])
    normal = np.cross(row, column)
    frames.sort(key=lambda item: float(np.dot(item[1].position, normal)))
    step = _step(frames, normal)
    between_rows, between_columns = frames[0][1].spacing
    shape = (len(frames), headers[0].rows, headers[0].columns)
    check_size(shape)
    # Going down a column steps from row to row; IOP gives the direction along a row first.
    grid = checked(shape, frames[0][1].position, [step, column * between_rows, row * between_columns])
    if to_canonical(grid)[0][0] != 0:
        raise InputError("a DICOM series must be axial, got a coronal or sagittal reformat: hand in the axial series")
    return Series(tuple(frames), grid, headers[0].patient, headers[0].series, headers[0].study, tuple(copies))


def read_series(series: Series) -> Volume:
    """The series as a volume. Raises `InputError` naming the first slice that cannot be read."""
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
        except Exception as error:  # whatever a broken file makes the parser do
            raise InputError(f"{path.name} must be readable DICOM, got {format_error(error)}") from error
        if hu.shape != series.grid.shape[1:]:
            raise InputError(f"{path.name} must have shape {series.grid.shape[1:]}, got {hu.shape}")
        if hu.dtype.kind == "f" and volume.dtype.kind == "i":
            volume = volume.astype(np.float32)
        volume[z] = hu
    return canonical_volume(volume, series.grid, series.patient, series.series, series.frames[0][0].parent)


def _without_copies(headers: list[Header]) -> tuple[list[Header], list[Path]]:
    """Files with each SOPInstanceUID once; a second file with one must be the same file, byte for byte."""
    kept: dict[str, Header] = {}
    copies = []
    for header in sorted(headers, key=lambda header: str(header.path)):
        first = kept.setdefault(header.instance, header)
        if first is header:
            continue
        if sha256(first.path) != sha256(header.path):
            raise InputError(
                f"{first.path.name} and {header.path.name} must not share a SOPInstanceUID: their content differs"
            )
        copies.append(header.path)
    return list(kept.values()), copies


def _orientation(orientations: list[tuple[float, ...]]) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors along a row and down a column, one pair for the whole series."""
    values = np.array(orientations)  # (n, 6)
    apart = np.abs(values - values[0]).max()
    if apart > COSINE_TOLERANCE:
        kinds = Counter(tuple(value) for value in np.round(values, 2).tolist())
        shown = "; ".join(f"{n} slices {list(kind)}" for kind, n in kinds.most_common(3))
        raise InputError(f"ImageOrientationPatient must be one for all slices of a series, got {shown}")
    row, column = values[0, :3], values[0, 3:]
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if max(abs(length - 1) for length in lengths) > 0.01 or abs(row @ column) > 0.01:
        raise InputError(f"ImageOrientationPatient must be two unit vectors at right angles, got {list(values[0])}")
    return row / lengths[0], column / lengths[1]


def _step(frames: list[tuple[Path, Frame]], normal: np.ndarray) -> np.ndarray:
    """The step from slice to slice, mm (3,); all slices must lie evenly on one line."""
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
            f"slices must have positions of their own, got {frames[at][0].name} and {frames[at + 1][0].name} "
            f"both at {along[at]:.2f} mm ({np.count_nonzero(gaps <= MIN_GAP)} such pairs)"
        )
    odd = np.flatnonzero(np.abs(gaps - usual) > GAP_TOLERANCE * usual)
    if odd.size:
        at = odd[0]
        times = gaps[at] / usual
        missing = times > 1.5 and abs(times - round(times)) <= GAP_TOLERANCE
        raise InputError(
            f"slices must lie evenly {usual:.3g} mm apart, got {gaps[at]:.3g} mm after {along[at]:.2f} mm "
            f"({f'{round(times) - 1} missing there' if missing else 'uneven spacing'}; {odd.size} such gaps)"
        )
    step = (positions[-1] - positions[0]) / (len(frames) - 1)
    line = positions[0] + np.arange(len(frames))[:, None] * step
    sideways = np.abs((positions - line) - np.outer((positions - line) @ normal, normal)).max()
    if sideways > GAP_TOLERANCE * min(frames[0][1].spacing):
        raise InputError(f"slices must lie on one line, got one {sideways:.2f} mm off sideways")
    return step
