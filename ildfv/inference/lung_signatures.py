"""Comparison of slices by their lung vessels, which differ between patients.

The comparison finds scans of one patient under different names, even if a scan was resampled or has shifted or scaled
HU, more noise, or thicker slices. A signature is the lung of a slice, scaled to its bounding box and filtered, so that
only structures of the size of vessels and lesions remain. Scans of one patient in different breath-holds are not found.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ildfv.scans.windows import NORMAL

SIDE = 64  # pixels of a signature
INNER, OUTER = 1.0, 4.0  # pixels; the standard deviations of the Gaussian filters of the band-pass
ENDS = (1, 99)  # percentiles of the lung's coordinates that define its box; extremes depend on noise
RIM = 3  # prepared pixels at the border of the lung that are not used, because partial volume is alike in all patients
FEWEST = 200  # minimum number of lung pixels of a prepared slice without this border; otherwise its signature is 0
SAME = 0.65  # two slices with at least this correlation show the same anatomy; see bench/NOTES.md


def lung_signatures(images: np.ndarray, lung: np.ndarray) -> np.ndarray:
    """The signatures of prepared slices uint8 (m, 3, 224, 224) with lung masks (m, 224, 224), float32 (m, 4096).

    The dot product of two signatures is their correlation. The signature of a slice with little or no lung is zero.
    """
    return np.stack([_signature(image[NORMAL], mask) for image, mask in zip(images, lung, strict=True)])


def _signature(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    mask = ndimage.binary_erosion(mask, iterations=RIM)
    if np.count_nonzero(mask) < FEWEST:
        return np.zeros(SIDE * SIDE, np.float32)
    starts, stops = zip(*(np.percentile(places, ENDS) for places in np.nonzero(mask)), strict=True)
    places = np.meshgrid(*(np.linspace(a, b, SIDE) for a, b in zip(starts, stops, strict=True)), indexing="ij")
    values = ndimage.map_coordinates(image.astype(np.float32), places, order=1)
    inside = ndimage.map_coordinates(mask.astype(np.float32), places, order=1)
    # Values outside the lung are ignored. Otherwise the outline of the lung, similar in all patients, would dominate.
    fine, coarse = (
        ndimage.gaussian_filter(values * inside, sigma) / np.maximum(ndimage.gaussian_filter(inside, sigma), 1e-3)
        for sigma in (INNER, OUTER)
    )
    found = (fine - coarse) * inside
    found -= found.sum() / inside.sum() * inside
    return (found / max(float(np.linalg.norm(found)), 1e-6)).ravel().astype(np.float32)


def highest_correlations(signatures: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each of `others` (n, 4096), its highest correlation with any of `signatures` (m, 4096), (n,)."""
    return (others @ signatures.T).max(axis=1)
