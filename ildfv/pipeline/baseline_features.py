"""The features of the baselines, for slices or whole scans: lung density, lung area, and 0 for the prevalence baseline.

If scans are labelled as a whole, each scan has one row of features. LAA-950, mean density, high-attenuation area (HAA)
and the histogram are then computed from all lung pixels of the scan. P15, the 15th percentile of the HU, is
interpolated in the histogram, whose bins are 37.5 HU wide. The lung area is the mean over the slices.
"""

from __future__ import annotations

import numpy as np

from ildfv.datasets.slice_store import Slices
from ildfv.errors import InputError
from ildfv.progress import SILENT, Progress
from ildfv.scans.density import BINS, PERCENTILE, RANGE, SCALARS

P15, HISTOGRAM, AREA, PREVALENCE = "p15", "histogram", "lung-area", "prevalence"
NAMES = (*SCALARS, HISTOGRAM, AREA, PREVALENCE)


def features(slices: Slices, progress: Progress = SILENT) -> dict[str, np.ndarray]:
    """The features (N, p) of each baseline, by name: only lung area and prevalence if densities are not stored."""
    found = {AREA: (slices.lung * slices.pixel_area)[:, None], PREVALENCE: np.zeros((len(slices), 1))}
    try:
        densities = slices.densities().astype(np.float64)  # (N, 36)
    except InputError as error:
        progress.note(f"baselines that measure lung density are not scored: {error}")
        return found
    scalars = {name: densities[:, [i]] for i, name in enumerate(SCALARS)}
    return {**scalars, HISTOGRAM: densities[:, len(SCALARS) :], **found}


def scan_features(slices: Slices, name: str, values: np.ndarray) -> np.ndarray:
    """The features of each whole scan, (scans, p). name: the baseline. values: its features by slice, (N, p).

    LAA-950, mean density, HAA and the histogram are averaged over the slices, weighted by the number of lung pixels,
    which gives the values of the whole lung. They are NaN if no slice shows lung.
    """
    if name == P15:
        shares = scan_features(slices, HISTOGRAM, slices.densities().astype(np.float64)[:, len(SCALARS) :])
        return np.array([[percentile_of(row)] for row in shares])
    weights = np.ones(len(slices)) if name in (AREA, PREVALENCE) else slices.lung.astype(np.float64)
    weights = np.where(np.isfinite(values).all(axis=1), weights, 0.0)[:, None]  # (N, 1)
    starts = slices.starts[:-1]
    total = np.add.reduceat(np.where(weights > 0, values, 0.0) * weights, starts, axis=0)
    with np.errstate(invalid="ignore"):
        return total / np.add.reduceat(weights, starts, axis=0)


def percentile_of(shares: np.ndarray) -> float:
    """P15 of a lung, in HU, interpolated in its histogram; NaN without lung.

    shares: the share of the lung pixels in each bin, or NaN, (bins,).
    """
    if not np.isfinite(shares).all():
        return np.nan
    edges = np.linspace(*RANGE, BINS + 1)
    return float(np.interp(PERCENTILE / 100, np.concatenate([[0.0], np.cumsum(shares)]), edges))
