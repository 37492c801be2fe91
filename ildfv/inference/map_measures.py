"""Measures of one map against one mask: pixel AUC, pointing game and Dice."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.stats import rankdata

from ildfv.errors import check
from ildfv.evaluation.metrics import ratio


def pixel_auc(values: np.ndarray, mask: np.ndarray, within: np.ndarray | None = None) -> float:
    """Probability that a pixel of the pattern has a higher value than a pixel without it. A tie counts as one half.

    Parameters
    ----------
    values : ndarray of shape (h, w)
        The map.
    mask : ndarray of shape (h, w)
        Nonzero where the pattern is.
    within : ndarray of shape (h, w), optional
        Pixels that are evaluated; by default all.

    Returns
    -------
    float
        NaN if the pattern covers none or all of the pixels.
    """
    values, truth = evaluated_pixels(values, mask, within)
    positive = int(truth.sum())
    negative = len(truth) - positive
    if not positive or not negative:
        return float("nan")
    ranks = rankdata(values)
    return float((ranks[truth].sum() - positive * (positive + 1) / 2) / (positive * negative))


def pointing_game(
    values: np.ndarray, mask: np.ndarray, within: np.ndarray | None = None, *, tolerance: int = 0
) -> float:
    """Fraction of the pixels with the highest value that show the pattern: 1 or 0 if the highest value is unique.

    Source: Zhang et al., Top-down neural attention by excitation backprop, IJCV 126 (2018). They use a tolerance of 15
    pixels.

    Parameters
    ----------
    values, mask, within : ndarray of shape (h, w)
        As for `pixel_auc`.
    tolerance : int
        Distance from the pattern, in pixels, up to which a pixel counts as a pixel of the pattern.

    Returns
    -------
    float
        In [0, 1]; NaN without a pixel of the pattern.
    """
    if tolerance:
        mask = ndimage.binary_dilation(np.asarray(mask) != 0, iterations=tolerance)
    values, truth = evaluated_pixels(values, mask, within)
    return float(truth[values == values.max()].mean()) if truth.any() else float("nan")


def dice_at(values: np.ndarray, mask: np.ndarray, threshold: float, within: np.ndarray | None = None) -> float:
    """Dice coefficient of the pixels at or above the threshold and the pixels of the pattern; NaN if both are empty.

    Parameters
    ----------
    values, mask, within : ndarray of shape (h, w)
        As for `pixel_auc`.
    threshold : float
        Threshold, in units of the map.
    """
    values, truth = evaluated_pixels(values, mask, within)
    called = values >= threshold
    return float(ratio(2 * (called & truth).sum(), called.sum() + truth.sum()))


def best_threshold(values: np.ndarray, truth: np.ndarray) -> float:
    """The threshold with the largest Dice coefficient over all given pixels, or the highest of several such thresholds.

    values, truth: (n,).
    """
    order = np.argsort(-values, kind="stable")
    ranked, hits = values[order], np.cumsum(truth[order] != 0)
    last = np.flatnonzero(np.append(np.diff(ranked) != 0, True))  # equal values share a threshold
    scores = 2 * hits[last] / (last + 1 + hits[-1])
    return float(ranked[last[np.argmax(scores)]])


def evaluated_pixels(values, mask, within) -> tuple[np.ndarray, np.ndarray]:
    """The values and the truth of the evaluated pixels, (n,) each."""
    values, mask = np.asarray(values), np.asarray(mask) != 0
    check(values.shape == mask.shape, f"mask must have the map's shape {values.shape}, got {mask.shape}")
    if within is None:
        return values.ravel(), mask.ravel()
    inside = np.asarray(within) != 0
    return values[inside], mask[inside]
