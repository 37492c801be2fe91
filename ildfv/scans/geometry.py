"""Voxel grids in patient coordinates (mm), and their conversion to canonical axial order.

Patient axes are those of DICOM (LPS): x to the patient's left, y posterior, z superior. Canonical arrays are (z, y, x).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ildfv.errors import InputError

MAX_TILT = 5.0  # degrees between a grid axis and its patient axis; gantry tilts and oblique reformats have more
MAX_GAP = 10.0  # largest gap in mm between uneven slices that `prepare --resample` interpolates
MAX_RESAMPLED_TILT = 30.05  # largest tilt in degrees that `prepare --resample` accepts: 30° with rounded cosines
SQUARE_TOLERANCE = 0.01  # relative difference between the two in-plane spacings
ROUNDING = 0.3  # mm by which the far corner moves if a header rounds spacings or cosines to three decimals
AXES = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])  # patient direction of canonical z, y, x


@dataclass(frozen=True)
class Geometry:
    """A grid of 3 axes: `shape`; `origin` (3,) of voxel 0, mm; `steps` (3, 3), mm, with the step along axis i in row i.

    slices: positions of unevenly spaced slices along axis 0, (shape[0],), in steps from 0 to shape[0] − 1; else None.
    thickness_known: False for one slice of unknown thickness, whose step along axis 0 has a length without meaning.
    """

    shape: tuple[int, ...]
    origin: np.ndarray
    steps: np.ndarray
    slices: np.ndarray | None = None
    thickness_known: bool = True

    @property
    def spacing(self) -> np.ndarray:
        """mm between voxels along each array axis, (3,)."""
        return np.linalg.norm(self.steps, axis=1)

    @property
    def known_spacing(self) -> np.ndarray:
        """`spacing`, with NaN for the axis of a slice of unknown thickness, (3,)."""
        return self.spacing if self.thickness_known else np.array([np.nan, *self.spacing[1:]])

    @property
    def direction(self) -> np.ndarray:
        """Unit vectors of the array axes, (3, 3), row i for axis i."""
        return self.steps / self.spacing[:, None]

    @property
    def positions(self) -> np.ndarray:
        """mm of each slice of a canonical grid along the slice normal, ascending, float32 (m,)."""
        z, y, x = self.steps
        normal = np.cross(x, y)
        normal /= np.linalg.norm(normal)
        first, step = self.origin @ normal, z @ normal
        places = np.arange(self.shape[0]) if self.slices is None else self.slices
        return (first + step * places).astype(np.float32)

    @property
    def pixel_area(self) -> float:
        """mm² of one pixel of a canonical grid."""
        return float(self.spacing[1] * self.spacing[2])

    def corners(self) -> np.ndarray:
        """Centres of the eight corner voxels, mm, (8, 3)."""
        indices = np.stack(np.meshgrid(*[(0, n - 1) for n in self.shape], indexing="ij"), axis=-1).reshape(8, 3)
        return self.origin + indices @ self.steps

    @property
    def tilt(self) -> float:
        """Largest angle between an array axis and the patient axis nearest to it, degrees."""
        cosines = np.abs(self.direction @ AXES.T).max(axis=1)
        return float(np.degrees(np.arccos(np.clip(cosines, 0, 1))).max())

    def place(self, z: int) -> float:
        """Position of slice z along axis 0, in steps."""
        return float(z if self.slices is None else self.slices[z])

    def nearest_slice(self, place: float) -> int:
        """Index of the slice nearest to a position along axis 0; it may be outside the grid."""
        if self.slices is None or not 0 <= round(place) < self.shape[0]:
            return round(place)
        return int(np.abs(self.slices - place).argmin())


def tolerance(spacing: float, rounding: float = ROUNDING) -> float:
    """mm by which a voxel may deviate from its position on a grid with that spacing (mm).

    A tenth of a voxel, or more if numbers in headers are rounded (`rounding`, mm), but always less than half a voxel,
    so that positions are unambiguous.
    """
    return min(max(spacing / 10, rounding), 0.4 * spacing)


def checked(shape, origin, steps) -> Geometry:
    """The grid with these values. Raises `InputError` if a number is not finite or a spacing is below 0.001 mm."""
    geometry = Geometry(tuple(int(n) for n in shape), np.asarray(origin, np.float64), np.asarray(steps, np.float64))
    if not (np.isfinite(geometry.origin).all() and np.isfinite(geometry.steps).all()):
        raise InputError("position, orientation and spacing must be finite, got NaN or infinity")
    if (geometry.spacing < 1e-3).any():
        raise InputError(f"voxel spacing must be above 0.001 mm, got {_formatted(geometry.spacing)} mm")
    return geometry


def to_canonical(geometry: Geometry, max_tilt: float = MAX_TILT) -> tuple[tuple[int, ...], tuple[int, ...], Geometry]:
    """`order` and `flips` for `reordered`, and the reordered grid: (z, y, x) towards head, back and left.

    Nothing is resampled. Raises `InputError` if an axis deviates by more than `max_tilt` degrees from its patient axis,
    or if pixels are not square.
    """
    cosines = geometry.direction @ AXES.T  # (array axis, patient axis)
    order = tuple(int(i) for i in np.abs(cosines).argmax(axis=0))  # array axis for z, y, x
    chosen = np.array([cosines[axis, patient] for patient, axis in enumerate(order)])
    tilt = np.degrees(np.arccos(np.clip(np.abs(chosen), 0, 1)))
    if len(set(order)) < 3 or tilt.max() > max_tilt:
        raise InputError(_tilted(float(tilt.max()), max_tilt), faq="tilted-slices")
    flips = tuple(i for i in range(3) if chosen[i] < 0)
    steps, shape, origin = geometry.steps[list(order)], [geometry.shape[i] for i in order], geometry.origin
    for i in flips:
        origin = origin + (shape[i] - 1) * steps[i]
        steps[i] = -steps[i]
    places = geometry.slices
    if places is not None and 0 in flips:
        places = (geometry.shape[0] - 1 - places)[::-1]
    result = replace(geometry, shape=tuple(shape), origin=origin, steps=steps, slices=places)
    _, dy, dx = result.spacing
    if abs(dy - dx) > SQUARE_TOLERANCE * max(dy, dx):
        raise InputError(f"pixels of a slice must be square within {SQUARE_TOLERANCE:.0%}, got {dy:.4g} × {dx:.4g} mm")
    return order, flips, result


def tilted(geometry: Geometry) -> str:
    """The reason why a tilted grid is refused without `--resample`."""
    return _tilted(geometry.tilt, MAX_TILT)


def _tilted(tilt: float, allowed: float) -> str:
    resample = allowed == MAX_TILT and tilt <= MAX_RESAMPLED_TILT
    limit = f" (`ildfv prepare --resample` accepts up to {MAX_RESAMPLED_TILT:.0f}°, `predict` does not)"
    remedy = f": use an axial series of the same study{limit * resample}"
    return f"slices must be axial within {allowed:.0f}°, got {tilt:.1f}° (gantry tilt or oblique planes?){remedy}"


def reordered(array: np.ndarray, order: tuple[int, ...], flips: tuple[int, ...]) -> np.ndarray:
    """The array with its axes permuted, then flipped; a view. order, flips: from `to_canonical`."""
    return np.flip(np.transpose(array, order), flips)


def as_stored(array: np.ndarray, order: tuple[int, ...], flips: tuple[int, ...]) -> np.ndarray:
    """The array with its axes as they were before `reordered` with the same `order` and `flips`; a view."""
    return np.transpose(np.flip(array, flips), np.argsort(order))


def difference(a: Geometry, b: Geometry) -> str | None:
    """None if the grids are equal (same shape, corners within `tolerance`), otherwise a description, for messages.

    Grids cannot be compared if the slices of `a` are unevenly spaced; this also gives a description.
    """
    if a.slices is not None:
        return "must be a DICOM SEG, because the slices of its scan are unevenly spaced"
    if a.shape != b.shape:
        return f"must have shape {a.shape} (slices, rows, columns), got {b.shape}"
    apart = np.abs(a.corners() - b.corners()).max()
    if apart > tolerance(float(min(a.spacing.min(), b.spacing.min()))):
        return (
            f"must have the scan's grid (origin {_formatted(a.origin)}, spacing {_formatted(a.spacing)} mm), "
            f"got origin {_formatted(b.origin)}, spacing {_formatted(b.spacing)} mm, which differs by {apart:.3g} mm"
        )
    return None


def _formatted(values) -> str:
    """The numbers in parentheses, with five digits each."""
    return "(" + ", ".join(f"{value:.5g}" for value in values) + ")"
