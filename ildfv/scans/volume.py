"""A CT volume in Hounsfield units and canonical axial order, and the plausibility checks of its values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ildfv.errors import InputError
from ildfv.scans.geometry import Geometry, reordered, to_canonical

MAX_SIDE = 4096  # rows and columns of a slice: CT has 512, rarely 2048
MAX_VOXELS = 1 << 30  # per scan (2 GiB as int16): 4096 slices of 512×512
MAX_GZIP_RATIO = 1032  # limit of deflate: a file cannot contain more
PADDING = -3024  # HU that replaces lower values in declared padding
MIN_HU, MAX_HU = -8192.0, 20000.0  # HU; padding of scanners is above, metal on an extended scale below
AIR, SOFT = (-1100.0, -700.0), (-200.0, 250.0)  # HU ranges that every chest scan has: air or lung, and soft tissue
MIN_SHARE = 0.005  # fraction of voxels required in each range


@dataclass(frozen=True)
class Volume:
    """A scan: `hu` (z, y, x), int16, or float32 if its values are not integers; z superior, y posterior, x left.

    Padding outside the scanner's field of view keeps its value in the file (usually −1024 … −3024).
    """

    hu: np.ndarray
    geometry: Geometry
    patient_id: str  # raw; it is only stored as a salted hash
    series_id: str  # raw, likewise
    source: Path

    @property
    def spacing(self) -> np.ndarray:
        """mm between voxels along z, y, x, (3,)."""
        return self.geometry.spacing

    @property
    def origin(self) -> np.ndarray:
        """Patient position of voxel (0, 0, 0), mm, (3,)."""
        return self.geometry.origin

    @property
    def direction(self) -> np.ndarray:
        """Unit vectors of the array axes in patient coordinates, (3, 3), rows for z, y, x."""
        return self.geometry.direction

    @property
    def positions(self) -> np.ndarray:
        """mm of each slice along the slice normal, ascending, float32 (m,)."""
        z, y, x = self.geometry.steps
        normal = np.cross(x, y)
        normal /= np.linalg.norm(normal)
        first, step = self.geometry.origin @ normal, z @ normal
        return (first + step * np.arange(self.geometry.shape[0])).astype(np.float32)

    @property
    def pixel_area(self) -> float:
        """mm² of one pixel."""
        return float(self.spacing[1] * self.spacing[2])


def canonical_volume(stored: np.ndarray, geometry: Geometry, patient_id: str, series_id: str, source: Path) -> Volume:
    """The volume of HU values on any axis-aligned grid, in canonical order and checked."""
    order, flips, grid = to_canonical(geometry)
    hu = np.ascontiguousarray(reordered(stored, order, flips))
    check_hounsfield(hu)
    return Volume(hu, grid, patient_id, series_id, source)


def check_size(shape, itemsize: int = 2) -> None:
    """Raises `InputError` for a shape that is empty or too large; called before anything is allocated."""
    if min(shape) < 1:
        raise InputError(f"a volume must not be empty, got shape {tuple(shape)}")
    if max(shape) > MAX_SIDE:
        raise InputError(f"rows, columns and slices must be at most {MAX_SIDE}, got shape {tuple(shape)}")
    voxels = int(np.prod(shape, dtype=np.int64))
    if voxels * itemsize > 2 * MAX_VOXELS:
        raise InputError(f"a volume must take at most {2 * MAX_VOXELS:,} bytes, got {voxels * itemsize:,}")


def check_hounsfield(hu: np.ndarray) -> None:
    """Raises `InputError` if the values cannot be Hounsfield units of a chest.

    They must be finite and in [−8192, 20 000]. Air or lung (−1100 … −700) and soft tissue (−200 … 250) must each have
    at least 0.5 % of the voxels, which excludes unscaled stored values.
    """
    low, high = float(hu.min()), float(hu.max())
    if not (np.isfinite(low) and np.isfinite(high)):  # min and max carry NaN
        bad = int(np.size(hu) - np.isfinite(hu).sum())
        raise InputError(f"HU must be finite, got {bad:,} NaN or infinite voxels")
    if low < MIN_HU or high > MAX_HU:
        raise InputError(f"HU must be in [{MIN_HU:.0f}, {MAX_HU:.0f}], got {low:.0f} … {high:.0f}")
    step = max(1, hu.shape[-1] // 128)  # a sample is enough to estimate the fractions
    sample = hu[:, ::step, ::step]
    guess = "a label map? its name must contain label, seg or lm" if low >= 0 and high < 256 else "no HU or no chest"
    for name, (a, b) in (("air or lung", AIR), ("soft tissue", SOFT)):
        share = np.count_nonzero((sample >= a) & (sample <= b)) / sample.size
        if share < MIN_SHARE:
            raise InputError(
                f"HU must include {name} ({a:.0f} … {b:.0f}) in ≥ {MIN_SHARE:.1%} of the voxels, got {share:.2%} "
                f"(values {low:.0f} … {high:.0f}: {guess})"
            )


def as_hounsfield(stored: np.ndarray, slope: float, intercept: float, padding: np.ndarray | None = None) -> np.ndarray:
    """slope·stored + intercept, int16 if all values are integers in its range, else float32.

    padding: bool, the shape of `stored`, True where the header declares padding; there, lower values become −3024 HU.
    Raises `InputError` for a slope that is not above 0 and finite.
    """
    if not (np.isfinite(slope) and np.isfinite(intercept)) or slope <= 0:
        raise InputError(f"the slope to HU must be above 0 and finite, got slope {slope:g}, intercept {intercept:g}")
    hu: np.ndarray
    if slope == int(slope) and intercept == int(intercept) and slope < 1e6 and stored.dtype.kind in "iu":
        fits = stored.itemsize <= 2 and slope * 65536 + abs(intercept) < 2**31
        hu = stored.astype(np.int32 if fits else np.int64) * int(slope) + int(intercept)
    else:
        hu = stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    if padding is not None:
        hu[padding & np.less(hu, PADDING)] = PADDING
    if hu.dtype.kind == "i":
        limits = np.iinfo(np.int16)
        fits = limits.min <= hu.min() and hu.max() <= limits.max
        return hu.astype(np.int16 if fits else np.float32)
    return hu
