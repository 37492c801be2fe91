"""A CT volume in Hounsfield units and canonical axial order, and the plausibility checks of its values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ildfv.errors import InputError
from ildfv.scans.geometry import MAX_TILT, Geometry, reordered, to_canonical
from ildfv.scans.shifted import check_slices
from ildfv.scans.technique import UNKNOWN, Technique
from ildfv.scans.windows import paper_pixel_area

MAX_SIDE = 4096  # rows and columns of a slice: CT has 512, rarely 2048
MAX_VOXELS = 1 << 30  # per scan (2 GiB as int16): 4096 slices of 512×512
MAX_GZIP_RATIO = 1032  # largest compression ratio of deflate
PADDING = -3024  # HU that replaces lower values: the lowest padding of scanners; other software uses down to -32768
MAX_RESCALE = 1 << 32  # stored values have at most 32 bits; a larger slope or intercept cannot give HU
MAX_HU = 20000  # HU that replaces higher values: metal on an extended scale, or wrapped padding
DENSE = ((700, 0.1), (MAX_HU, 0.01))  # (HU, largest fraction of voxels above): cortical bone, metal
AIR, SOFT = (-1100.0, -700.0), (-200.0, 250.0)  # HU ranges that every chest scan has: air or lung, and soft tissue
MIN_SHARE = 0.005  # fraction of voxels required in each range


@dataclass(frozen=True)
class Volume:
    """A scan: `hu` (z, y, x), int16, or float32 if its values are not integers; z superior, y posterior, x left.

    Padding outside the scanner's field of view keeps its value in the file (usually −1024 … −3024). Values below −3024
    are raised to −3024; values above 20 000 HU (metal on an extended scale) are lowered to 20 000.
    """

    hu: np.ndarray
    geometry: Geometry
    patient_id: str  # raw; it is only stored as a salted hash
    series_id: str  # raw; it is only stored as a salted hash
    source: Path
    technique: Technique = UNKNOWN  # what the headers state; the HU of air are not measured
    stored: Geometry | None = None  # the grid of a volume file, with its axes as in the file

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
        return self.geometry.positions

    @property
    def pixel_area(self) -> float:
        """mm² of one pixel."""
        return self.geometry.pixel_area

    @property
    def paper_pixel_area(self) -> float:
        """mm² of one pixel of a 512×512 grid of the square around a slice, which prepared slices show."""
        return paper_pixel_area(self.pixel_area, max(self.geometry.shape[1:]))


def canonical_volume(
    stored: np.ndarray,
    geometry: Geometry,
    patient_id: str,
    series_id: str,
    source: Path,
    *,
    max_tilt: float = MAX_TILT,
) -> Volume:
    """The volume of HU values on any axis-aligned grid, reordered to canonical order and checked.

    stored: HU, with the axes of `geometry`. Raises `InputError` if the grid is tilted by more than `max_tilt` degrees,
    if pixels are not square, or if the values are not finite, cannot be HU of a chest or are shifted in some slices.
    """
    order, flips, grid = to_canonical(geometry, max_tilt)
    hu = np.ascontiguousarray(reordered(stored, order, flips))
    low, high, sample = float(hu.min()), float(hu.max()), sampled(hu)
    check_finite(hu, low, high)
    check_shares(sample, low, high)
    volume = Volume(clipped(hu, low, high), grid, patient_id, series_id, source)
    check_slices(sample, volume.positions)
    return volume


def check_size(shape, itemsize: int = 2) -> None:
    """Raises `InputError` for a shape that is empty or too large; called before anything is allocated."""
    if min(shape) < 1:
        raise InputError(f"a volume must not be empty, got shape {tuple(shape)}")
    if max(shape) > MAX_SIDE:
        raise InputError(f"rows, columns and slices must be at most {MAX_SIDE}, got shape {tuple(shape)}")
    voxels = int(np.prod(shape, dtype=np.int64))
    if voxels * itemsize > 2 * MAX_VOXELS:
        raise InputError(f"a volume must take at most {2 * MAX_VOXELS:,} bytes, got {voxels * itemsize:,}")


def check_data_size(data_file: Path, declared: int, size: int, *, compressed: bool) -> None:
    """Raises `InputError` if `size` bytes of a data file cannot contain the declared bytes of voxels.

    compressed: whether the bytes may be compressed with deflate.
    """
    if declared > size * (MAX_GZIP_RATIO if compressed else 1):
        got = f"{size:,} bytes" + ", too few even if compressed" * compressed
        raise InputError(f"{data_file.name} must contain {declared:,} bytes of voxels, got {got} (truncated?)")


def check_finite(hu: np.ndarray, low: float, high: float) -> None:
    """Raises `InputError` unless all HU are finite. low, high: minimum and maximum of `hu`, which propagate NaN."""
    if not (np.isfinite(low) and np.isfinite(high)):
        bad = int(np.size(hu) - np.isfinite(hu).sum())
        raise InputError(f"HU must be finite, got NaN or infinity (voxels: {bad:,})")


def check_shares(sample: np.ndarray, low: float, high: float) -> None:
    """Raises `InputError` if the values cannot be Hounsfield units of a chest, for example unscaled or shifted values.

    Air or lung (−1100 … −700) and soft tissue (−200 … 250) must each have at least 0.5 % of the voxels. At most 10 % of
    the voxels may be above 700 HU, where soft tissue lies if the intercept is missing, and at most 1 % above 20 000 HU.

    sample: from `sampled`. low, high: minimum and maximum of all values.
    """
    for limit, most in DENSE:
        if (share := np.count_nonzero(sample > limit) / sample.size) > most:
            raise InputError(
                f"HU must be above {limit} in at most {most:.0%} of the voxels, got {share:.1%} "
                f"(values {low:.0f} … {high:.0f}: not scaled, shifted, or wrong sign?)",
                faq="hu",
            )
    is_label = low >= 0 and high < 256
    guess = "a label map? its name or folder must contain label, seg or mask" if is_label else "not HU or no chest?"
    for name, (a, b) in (("air or lung", AIR), ("soft tissue", SOFT)):
        share = np.count_nonzero((sample >= a) & (sample <= b)) / sample.size
        if share < MIN_SHARE:
            raise InputError(
                f"HU must include {name} ({a:.0f} … {b:.0f}) in ≥ {MIN_SHARE:.1%} of the voxels, got {share:.2%} "
                f"(values {low:.0f} … {high:.0f}: {guess})",
                faq="hu",
            )


def sampled(hu: np.ndarray) -> np.ndarray:
    """A copy of every n-th row and column of `hu` (z, y, x), about 128 of each, to estimate fractions of voxels."""
    step = max(1, hu.shape[-1] // 128)
    return np.ascontiguousarray(hu[:, ::step, ::step])


def clipped(hu: np.ndarray, low: float, high: float) -> np.ndarray:
    """`hu` clipped to −3024 … 20 000 HU; int16 if all values are integers. low, high: minimum and maximum of `hu`.

    The limits are far outside the windows, so windowed slices do not change.
    """
    if low >= PADDING and high <= MAX_HU:
        return hu
    hu = np.clip(hu, PADDING, MAX_HU)
    if hu.dtype.kind == "f" and (np.rint(hu) == hu).all():
        return hu.astype(np.int16)
    return hu


def as_hounsfield(stored: np.ndarray, slope: float, intercept: float, padding: np.ndarray | None = None) -> np.ndarray:
    """slope·stored + intercept, int16 if all values are integers in the range of int16, else float32.

    padding: bool, the shape of `stored`, True where the header declares padding; there, values below −3024 HU, and
    above 20 000 HU (negative padding in unsigned pixels), become −3024 HU.
    Raises `InputError` for a slope that is not above 0 and finite, and for a slope or intercept above `MAX_RESCALE`.
    """
    check_rescale(slope, intercept)
    hu: np.ndarray
    if slope == int(slope) and intercept == int(intercept) and slope < 1e6 and stored.dtype.kind in "iu":
        fits = stored.itemsize <= 2 and slope * 65536 + abs(intercept) < 2**31
        hu = stored.astype(np.int32 if fits else np.int64) * int(slope) + int(intercept)
    else:
        hu = stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    if padding is not None:
        hu[padding & (np.less(hu, PADDING) | np.greater(hu, MAX_HU))] = PADDING
    if hu.dtype.kind == "i":
        limits = np.iinfo(np.int16)
        fits = limits.min <= hu.min() and hu.max() <= limits.max
        return hu.astype(np.int16 if fits else np.float32)
    return hu


def check_rescale(slope: float, intercept: float) -> None:
    """Raises `InputError` for a slope that is not above 0 and finite, or a slope or intercept above `MAX_RESCALE`."""
    if not (np.isfinite(slope) and np.isfinite(intercept)) or slope <= 0:
        raise InputError(f"slope to HU must be above 0 and finite, intercept finite, got {slope:g} and {intercept:g}")
    if max(slope, abs(intercept)) > MAX_RESCALE:
        rule = f"slope and intercept to HU must be at most {MAX_RESCALE:,}"
        raise InputError(f"{rule}, got slope {slope:g}, intercept {intercept:g}")


def fits_int16(low: int, high: int, slope: float, intercept: float) -> bool:
    """Whether slope·v + intercept is an integer in the range of int16 for all integers v from low to high."""
    if slope != int(slope) or intercept != int(intercept):
        return False
    limits = np.iinfo(np.int16)
    return limits.min <= low * int(slope) + int(intercept) and high * int(slope) + int(intercept) <= limits.max


def rescaled_in_place(stored: np.ndarray, slope: int, intercept: int) -> np.ndarray:
    """slope·stored + intercept as int16 in the memory of `stored`, int16 or uint16, for values that `fits_int16`."""
    words = stored.view(np.int16)
    # Arithmetic modulo 2^16 is exact, because the results fit.
    factor, shift = np.array([slope & 0xFFFF, intercept & 0xFFFF], np.uint16).view(np.int16)
    if slope != 1:
        words *= factor
    words += shift
    return words
