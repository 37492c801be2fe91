"""One CT volume in Hounsfield units, in canonical axial order, and the rules by which its numbers are believed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ildfv.errors import InputError
from ildfv.scans.geometry import Geometry, reordered, to_canonical

MAX_SIDE = 4096  # rows and columns of a slice: CT has 512, rarely 2048
MAX_VOXELS = 1 << 30  # of a scan (2 GiB as int16): 4096 slices of 512×512
MAX_GZIP_RATIO = 1032  # deflate cannot shrink more than this: a file that declares more is lying
PADDING = -3024  # HU given to declared padding that lies even lower
MIN_HU, MAX_HU = -8192.0, 20000.0  # HU: below lies no scanner's padding, above not even metal on an extended scale
AIR, SOFT = (-1100.0, -700.0), (-200.0, 250.0)  # HU that any scan of a chest has: air or lung, and soft tissue
MIN_SHARE = 0.005  # of the voxels that must lie in each of both ranges


@dataclass(frozen=True)
class Volume:
    """A scan: `hu` (z, y, x), int16, or float32 if its values are not whole numbers; z to the head, y back, x left.

    Padding outside the scanner's field of view keeps the value the file gives it (−1024 … −3024 as a rule).
    """

    hu: np.ndarray
    geometry: Geometry
    patient_id: str  # raw: never leaves this object but hashed
    series_id: str  # raw, as above
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
    """The volume of HU values on any axis-aligned grid, brought to canonical order and checked."""
    order, flips, grid = to_canonical(geometry)
    hu = np.ascontiguousarray(reordered(stored, order, flips))
    check_hounsfield(hu)
    return Volume(hu, grid, patient_id, series_id, source)


def check_size(shape, itemsize: int = 2) -> None:
    """Nothing if a volume of that shape may be decoded at all; called before anything is allocated."""
    if min(shape) < 1:
        raise InputError(f"a volume must have voxels, got shape {tuple(shape)}")
    if max(shape) > MAX_SIDE:
        raise InputError(f"rows, columns and slices must be at most {MAX_SIDE}, got shape {tuple(shape)}")
    voxels = int(np.prod(shape, dtype=np.int64))
    if voxels * itemsize > 2 * MAX_VOXELS:
        raise InputError(f"a volume must take at most {2 * MAX_VOXELS:,} bytes, got {voxels * itemsize:,}")


def check_hounsfield(hu: np.ndarray) -> None:
    """Nothing if the values can be Hounsfield units of a chest, else `InputError` with the rule they break.

    Finite; from −8192 (paddings lie above) to 20 000 (metal on an extended scale lies below); air or lung
    (−1100 … −700) and soft tissue (−200 … 250) each in at least 0.5 % of the voxels, which unscaled stored values do
    not have.
    """
    low, high = float(hu.min()), float(hu.max())
    if not (np.isfinite(low) and np.isfinite(high)):  # min and max carry NaN
        bad = int(np.size(hu) - np.isfinite(hu).sum())
        raise InputError(f"HU must be finite, got {bad:,} NaN or infinite voxels")
    if low < MIN_HU or high > MAX_HU:
        raise InputError(f"HU must be in [{MIN_HU:.0f}, {MAX_HU:.0f}], got {low:.0f} … {high:.0f}")
    step = max(1, hu.shape[-1] // 128)  # shares do not need every voxel
    sample = hu[:, ::step, ::step]
    guess = "a label map? its name must say label, seg or lm" if low >= 0 and high < 256 else "no HU, or no chest"
    for name, (a, b) in (("air or lung", AIR), ("soft tissue", SOFT)):
        share = np.count_nonzero((sample >= a) & (sample <= b)) / sample.size
        if share < MIN_SHARE:
            raise InputError(
                f"HU must hold {name} ({a:.0f} … {b:.0f}) in at least {MIN_SHARE:.1%} of the voxels, got {share:.2%} "
                f"(values {low:.0f} … {high:.0f}: {guess})"
            )


def as_hounsfield(stored: np.ndarray, slope: float, intercept: float, padding: np.ndarray | None = None) -> np.ndarray:
    """slope·stored + intercept, int16 if whole and in range, else float32.

    padding: bool, the shape of `stored`, True where the header declares a voxel to be outside the field of view; such
    a voxel is raised to −3024 HU if it lies lower. Raises `InputError` for a slope that is not above 0 and finite.
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
