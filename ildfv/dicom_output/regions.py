"""Regions of a pattern: the pixels of the lung that contribute most to its score, on the slices that show it.

A pixel belongs to the region if its contribution is above a limit: the contribution that each pixel would need if all
pixels contributed equally and the slice just reached the decision threshold, or 0 if that is negative or there is no
threshold. A region therefore depends on the predictor and on the slice alone, not on the rest of the scan.
Contributions from outside the lung, where no pattern can occur, are excluded; the maps include them.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ildfv.inference.outputs import squares_of
from ildfv.inference.page import SMOOTHING
from ildfv.inference.prediction import Prediction
from ildfv.scans.prepared_lungs import lungs_of
from ildfv.scans.windows import SIZE, paper_pixel_area

MARGIN = 3  # pixels of the network's input around the lung mask, which misses dense disease at the border of the lung
RULE = (
    f"Contribution, smoothed by {SMOOTHING:g} pixels of the 224x224 network input, above the mean that the slice needs "
    f"to reach the decision threshold; in the lung and {MARGIN} pixels around it"
)


def regions(prediction: Prediction) -> np.ndarray:
    """Region of each pattern on the scan's own grid, bool (C, slices, rows, columns), in canonical order.

    It is empty on slices without the pattern.
    """
    assert prediction.contributions is not None
    assert prediction.contributions_head is not None
    answer = prediction.heads[prediction.contributions_head]
    m, patterns = answer.presence.shape
    masks = np.zeros((patterns, m, *prediction.shape), bool)
    squares = squares_of(prediction.shape, prediction.field)
    rows, columns = (covering(n, *square) for n, square in zip(prediction.shape, squares, strict=True))
    shown = ((rows >= 0) & (rows < SIZE))[:, None] & ((columns >= 0) & (columns < SIZE))
    for z in np.flatnonzero(answer.presence.any(axis=1)):
        lung = near_lung(prediction, int(z))
        for c in np.flatnonzero(answer.presence[z]):
            planes = prediction.contributions[z, c]
            limit = pixel_threshold(planes, answer.scores[z, c], answer.thresholds[c])
            region = (ndimage.gaussian_filter(planes, SMOOTHING) > limit) & lung
            masks[c, z] = region[np.ix_(rows.clip(0, SIZE - 1), columns.clip(0, SIZE - 1))] & shown
    return masks


def near_lung(prediction: Prediction, z: int) -> np.ndarray:
    """The lung of a slice and `MARGIN` pixels around it, bool (224, 224)."""
    _, dy, dx = prediction.geometry.spacing
    area = paper_pixel_area(dy * dx, max(prediction.shape))
    if prediction.pixel_size is not None:
        area = prediction.pixel_size**2
    given = prediction.lung_masks
    lung = lungs_of(prediction.images[[z]], np.array([area]))[0] if given is None else given[z]
    return ndimage.binary_dilation(lung, iterations=MARGIN)


def pixel_threshold(planes: np.ndarray, score: float, threshold: float | None) -> float:
    """The contribution per pixel with which the slice just reaches `threshold` if all pixels contribute equally; ≥ 0.

    Pixels without a contribution are not counted. planes: contributions (224, 224); their sum is score − offset.
    """
    pixels = np.count_nonzero(planes)
    if threshold is None or pixels == 0:
        return 0.0
    offset = score - planes.sum()
    return max(0.0, float(threshold - offset) / pixels)


def covering(n: int, side: float, begin: float) -> np.ndarray:
    """For each of n scan pixels along an axis, the pixel of the network's input that contains its centre, (n,).

    side: side length of the square that the input shows, in scan pixels. begin: where the scan begins in it. The result
    is below 0 or above 223 where the square does not contain the pixel.
    """
    return np.floor((np.arange(n) + begin + 0.5) * SIZE / side).astype(np.int64)
