"""Regions of a pattern: the pixels that contribute most to its score, on the slices that show it.

Threshold: the contribution that every pixel of the slice would need for the slice to just reach the decision threshold,
and at least 0. A region therefore depends on the predictor and on the slice alone, not on the rest of the scan.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ildfv.inference.page import SMOOTHING
from ildfv.inference.prediction import Prediction
from ildfv.scans.windows import SIZE

RULE = (
    f"Contribution, smoothed by {SMOOTHING:g} pixels of 224, above the mean that the slice needs for the decision "
    "threshold"
)


def regions(prediction: Prediction, c: int) -> np.ndarray:
    """Region of a pattern on the scan's own grid, bool (slices, rows, columns), canonical order.

    Empty on slices without the pattern.
    """
    assert prediction.contributions is not None
    assert prediction.contributions_head is not None
    answer = prediction.heads[prediction.contributions_head]
    found = np.zeros((len(prediction.positions), *prediction.shape), bool)
    rows, columns = (covering(n, max(prediction.shape)) for n in prediction.shape)
    for z in np.flatnonzero(answer.presence[:, c]):
        planes = prediction.contributions[z, c]
        limit = pixel_threshold(planes, answer.scores[z, c], answer.thresholds[c])
        region = ndimage.gaussian_filter(planes, SMOOTHING) > limit
        found[z] = region[np.ix_(rows, columns)]
    return found


def pixel_threshold(planes: np.ndarray, score: float, threshold: float | None) -> float:
    """The contribution that each pixel with any would need for the slice to reach `threshold`, at least 0.

    planes: contributions (224, 224) with the sum score − offset.
    """
    pixels = np.count_nonzero(planes)
    if threshold is None or pixels == 0:
        return 0.0
    offset = score - planes.sum()
    return max(0.0, float(threshold - offset) / pixels)


def covering(n: int, side: int) -> np.ndarray:
    """For each of n scan pixels on an axis of the square around the slice, the network pixel that has its centre."""
    return ((np.arange(n) + (side - n) // 2 + 0.5) * SIZE / side).astype(np.int64)
