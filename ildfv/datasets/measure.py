"""The values that are stored for the slices and label maps of a scan, computed slice by slice."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from ildfv.patterns import PATTERNS, UNLABELLED
from ildfv.scans.density import COLUMNS, density
from ildfv.scans.hounsfield import mean_hounsfield
from ildfv.scans.labels import HEALTHY, INFORMATIVE, MEANINGS, pattern_labels
from ildfv.scans.normalise import AIR_SLICES, air_around, level_of_air
from ildfv.scans.tissue import spaced
from ildfv.scans.windows import SIZE, WINDOWS, nearest, windowed


@dataclass(frozen=True)
class Measured:
    """The windows and measurements of m slices, as in `scan_part.ScanSlices`."""

    images: np.ndarray
    lung: np.ndarray
    density: np.ndarray
    lung_masks: np.ndarray | None
    hu: np.ndarray | None
    air: float | None  # HU of the air around the body, see `scans.normalise.level_of_air`


def measured(
    slices: Iterable[np.ndarray],
    m: int,
    lung_of: Callable[[int, np.ndarray], np.ndarray],
    *,
    pixel_area: float,
    keep_masks: bool,
    keep_hu: bool,
) -> Measured:
    """The windows and measurements of m slices in HU.

    lung_of: returns the lung mask of a slice from its index and its HU. pixel_area: area of a pixel, mm². keep_masks,
    keep_hu: whether the result contains lung masks and HU.
    """
    images = np.empty((m, len(WINDOWS), SIZE, SIZE), np.uint8)
    lung, densities = np.empty(m, np.int32), np.empty((m, len(COLUMNS)), np.float32)
    small_masks = np.zeros((m, SIZE, SIZE), bool) if keep_masks else None
    small_hu = np.empty((m, SIZE, SIZE), np.int16) if keep_hu else None
    air: list[np.ndarray] = []
    with_air = set(spaced(m, AIR_SLICES).tolist())
    for z, slice_ in enumerate(slices):
        mask = lung_of(z, slice_)
        lung[z], densities[z], images[z] = np.count_nonzero(mask), density(slice_, mask), windowed(slice_)
        if small_masks is not None:
            small_masks[z] = nearest(mask)
        if small_hu is not None:
            small_hu[z] = mean_hounsfield(slice_)
        if z in with_air:
            air.append(air_around(slice_, pixel_area))
    level = level_of_air(np.concatenate(air)) if air else None
    return Measured(images, lung, densities, small_masks, small_hu, level)


@dataclass(frozen=True)
class Labelled:
    """The label maps and pixel counts of m slices, as in `scan_part.ScanSlices`."""

    labels: np.ndarray
    counts: np.ndarray
    healthy: np.ndarray | None
    any: bool  # whether any slice has labels


def labelled(
    slices: Iterable[tuple[int, np.ndarray, np.ndarray]], lung: np.ndarray, *, unlabelled_is_negative: bool
) -> Labelled:
    """The label maps and pixel counts of slices from `label_slices`. lung: lung pixels per slice (m,)."""
    m = len(lung)
    voxels, small = np.zeros((m, len(MEANINGS)), np.int64), np.zeros((m, SIZE, SIZE), np.uint8)
    for z, meanings, counts in slices:
        voxels[z] = counts
        small[z] = pattern_labels(nearest(meanings))  # `nearest` pads with 0, which is the index of "outside"
    known = np.asarray(voxels[:, INFORMATIVE].any(axis=1))
    if unlabelled_is_negative:
        known[:] = True
    elif known.any():
        known |= lung == 0  # without lung there is nothing to label
    if not known.any():
        return unlabelled(m)
    counts, healthy = (
        voxels[:, [MEANINGS.index(pattern) for pattern in PATTERNS]].astype(np.int32),
        voxels[:, MEANINGS.index(HEALTHY)].astype(np.int32),
    )
    counts[~known] = healthy[~known] = UNLABELLED
    return Labelled(small, counts, healthy, True)


def unlabelled(m: int) -> Labelled:
    """m slices without labels."""
    return Labelled(np.zeros((m, SIZE, SIZE), np.uint8), np.full((m, len(PATTERNS)), UNLABELLED, np.int32), None, False)
