"""Densitometry of the lung: standard measures of attenuation, from the HU of one slice."""

from __future__ import annotations

from functools import cache

import numpy as np

from ildfv.kernels.slices import histogram

EMPHYSEMA = -950.0  # HU; LAA-950 is the share of lung with lower values (Gevenois et al. 1995)
PERCENTILE = 15  # P15, the usual percentile density (Shaker et al. 2011)
HIGH = (-600.0, -250.0)  # HU; high-attenuation area (Lederer et al. 2009)
BINS, RANGE = 32, (-1000.0, 200.0)  # histogram in HU; values outside count in the first and last bin
SCALARS = ("laa-950", "p15", "mean-density", "haa")
COLUMNS = (*SCALARS, *(f"bin-{i}" for i in range(BINS)))


def density(hu: np.ndarray, lung: np.ndarray) -> np.ndarray:
    """The densitometry of one slice, float32 (36,), in the order of `COLUMNS`; all NaN if there is no lung.

    LAA-950, the high-attenuation area and the bins are shares of the lung in [0, 1]; P15 and the mean are in HU.

    Parameters
    ----------
    hu : ndarray of shape (rows, columns)
        Hounsfield units.
    lung : ndarray of shape (rows, columns), bool
        The lung, vessels included.
    """
    hu = np.asarray(hu)
    if hu.dtype == np.int16:
        return _from_histogram(hu, lung)
    inside = hu[lung].astype(np.float64)  # (n,)
    if inside.size == 0:
        return np.full(len(COLUMNS), np.nan, np.float32)
    low, high = HIGH
    scalars = [
        np.mean(inside < EMPHYSEMA),
        np.percentile(inside, PERCENTILE),
        inside.mean(),
        np.mean((inside >= low) & (inside <= high)),
    ]
    counts, _ = np.histogram(np.clip(inside, *RANGE), bins=BINS, range=RANGE)
    return np.array([*scalars, *(counts / inside.size)], np.float32)


def _from_histogram(hu: np.ndarray, lung: np.ndarray) -> np.ndarray:
    """The result of `density` for integer HU, computed exactly from the histogram of HU in the lung."""
    if hu.size == 0:
        return np.full(len(COLUMNS), np.nan, np.float32)
    least = int(hu.min())
    counts = histogram(hu, least, int(hu.max()), lung)
    used = np.flatnonzero(counts)
    if used.size == 0:
        return np.full(len(COLUMNS), np.nan, np.float32)
    values, counts = (used + least).astype(np.float64), counts[used]
    up_to = np.cumsum(counts)
    n = int(up_to[-1])
    place = (n - 1) * (PERCENTILE / 100)  # index of the percentile among the sorted values, as in np.percentile
    low, high = (values[np.searchsorted(up_to, i, side="right")] for i in (int(place), min(int(place) + 1, n - 1)))
    share = place - int(place)
    percentile = low + (high - low) * share if share < 0.5 else high - (high - low) * (1 - share)
    scalars = [
        counts[values < EMPHYSEMA].sum() / n,
        percentile,
        float(values @ counts) / n,
        counts[(values >= HIGH[0]) & (values <= HIGH[1])].sum() / n,
    ]
    first, last = map(int, RANGE)
    limited = np.minimum(np.maximum(used + least, first), last)  # np.clip takes ten times as long for few values
    bins = np.bincount(_bins()[limited - first], counts, BINS)
    return np.array([*scalars, *(bins / n)], np.float32)


@cache
def _bins() -> np.ndarray:
    """The bin, as in np.histogram, of each integer in `RANGE`."""
    edges = np.histogram_bin_edges([], BINS, RANGE)
    return np.minimum(np.searchsorted(edges, np.arange(RANGE[0], RANGE[1] + 1), side="right") - 1, BINS - 1)
