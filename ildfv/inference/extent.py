"""The extent of the lung, and where a pattern is in it: slices to look at first, thirds of the height, and sides.

A score is for a whole slice. The sides (left and right, ventral and dorsal) are therefore computed from contribution
maps: the positive part of the smoothed map inside the lung, summed over the slices where the pattern is present. The
shares of the sides show where the evidence is, not where the area is.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

# Minimum lung area of the lowest and the highest slice in the lung, as a fraction of the largest lung area of a slice.
# Lung masks may include gas in the bowel, which had 9 % of that area on a real scan. Above the lung, there is no gas.
LOWEST, HIGHEST = 0.1, 0.02
MAX_FIRST = 3  # maximum number of slices to look at first
MIN_DISTANCE = 10.0  # mm between two of these slices; closer slices look almost the same
SMOOTHING = 2.0  # pixels of a prepared slice; maps have steps where the number of receptive fields changes
ZONES = ("lower", "middle", "upper")


def in_lung(positions: np.ndarray, lung: np.ndarray) -> np.ndarray:
    """Whether each slice is between the first and the last slice with lung, bool (m,).

    The lowest slice has at least 10 %, and the highest at least 2 %, of the largest lung area of a slice. positions:
    increasing towards the head, (m,). lung: area of lung on each slice, in any unit, (m,).
    """
    low, high = (positions[lung >= share * lung.max()] for share in (LOWEST, HIGHEST))
    within: np.ndarray = (positions >= low.min()) & (positions <= high.max())
    return within


def lung_height(positions: np.ndarray, lung: np.ndarray) -> np.ndarray:
    """The height of each slice in the lung, (m,): 0 for the lowest slice with lung, 1 for the highest.

    It is NaN for slices outside the lung (`in_lung`), and for all slices if only one slice shows lung.
    """
    inside = in_lung(positions, lung)
    low, high = positions[inside].min(), positions[inside].max()
    if high <= low:
        return np.full(len(positions), np.nan)
    return np.where(inside, (positions - low) / (high - low), np.nan)


def first_slices(scores: np.ndarray, positions: np.ndarray) -> list[int]:
    """Up to three slices with the highest scores that are at least 10 mm from each other, highest score first."""
    found: list[int] = []
    for z in np.argsort(-scores, kind="stable"):
        if all(abs(positions[z] - positions[other]) >= MIN_DISTANCE for other in found):
            found.append(int(z))
        if len(found) == MAX_FIRST:
            break
    return found


def zones(presence: np.ndarray, area: np.ndarray, positions: np.ndarray, lung: np.ndarray) -> dict[str, float] | None:
    """The share of a pattern's area that is in each third of the lung's height.

    If areas are unknown, slices with the pattern are counted instead. None if the pattern is on no slice inside the
    lung, or has no area there, or if only one slice shows lung. presence, area: presence and area of the pattern on
    each slice, (m,). positions, lung: as in `Prediction`.
    """
    height = lung_height(positions, lung)
    used = presence & np.isfinite(height)
    amounts = area[used] if np.isfinite(area[used]).all() else np.ones(used.sum())
    if amounts.sum() <= 0:
        return None
    third = np.minimum((height[used] * len(ZONES)).astype(int), len(ZONES) - 1)
    return {name: float(amounts[third == i].sum() / amounts.sum()) for i, name in enumerate(ZONES)}


def sides(maps: np.ndarray, lung: np.ndarray, body: np.ndarray) -> dict[str, float] | None:
    """The shares of a pattern's evidence in the left, right, ventral and dorsal halves of the lung on m slices.

    The left and right halves meet at the centre of the body. The ventral and dorsal halves meet half-way between the
    first and the last row with lung on each slice.

    Parameters
    ----------
    maps : ndarray of shape (m, h, w)
        Contribution maps. Row indices increase dorsally, column indices to the patient's left.
    lung, body : ndarray of shape (m, h, w), bool
        Masks on the pixels of the maps.

    Returns
    -------
    dict of str to float or None
        "left" and "right" add up to 1, and so do "ventral" and "dorsal". None if there is no evidence inside the lung.
    """
    left, ventral, total = 0.0, 0.0, 0.0
    for contribution, inside, person in zip(maps, lung, body, strict=True):
        if not inside.any() or not person.any():
            continue
        evidence = np.maximum(ndimage.gaussian_filter(contribution, SMOOTHING), 0) * inside
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.arange(inside.shape[1])
        middle = np.average(columns, weights=person.sum(axis=0))
        depth = (rows[0] + rows[-1]) / 2
        left += evidence[:, columns > middle].sum()
        ventral += evidence[np.arange(len(evidence)) < depth].sum()
        total += evidence.sum()
    if total <= 0:
        return None
    return {
        "left": float(left / total),
        "right": float(1 - left / total),
        "ventral": float(ventral / total),
        "dorsal": float(1 - ventral / total),
    }
