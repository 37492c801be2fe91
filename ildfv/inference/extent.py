"""Location of a pattern in the lung: slices to look at first, thirds of the lung's height, and sides.

Sides are computed from contribution maps, because slices are predicted as a whole: the positive part of the smoothed
map inside the lung, summed over the slices on which the pattern is present. They describe where the evidence is, not
the area.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ildfv.inference.prediction import lung_height

LOOK = 3  # slices to look at first
APART = 10.0  # mm: closer slices look almost the same
SMOOTHING = 2.0  # prepared pixels; overlapping receptive fields alternate from pixel to pixel
ZONES = ("lower", "middle", "upper")


def first_slices(scores: np.ndarray, positions: np.ndarray) -> list[int]:
    """The slices with the highest scores (m,) that are at least 10 mm apart, at most three, the highest first."""
    found: list[int] = []
    for z in np.argsort(-scores, kind="stable"):
        if all(abs(positions[z] - positions[other]) >= APART for other in found):
            found.append(int(z))
        if len(found) == LOOK:
            break
    return found


def zones(presence: np.ndarray, area: np.ndarray, positions: np.ndarray, lung: np.ndarray) -> dict[str, float] | None:
    """The share of each third of the lung's height in a pattern's area, or in its slices if areas are unknown.

    All (m,), of one pattern. None if the pattern is present on no slice inside the lung.
    """
    height = lung_height(positions, lung)
    used = presence & np.isfinite(height)
    amounts = area[used] if np.isfinite(area[used]).all() else np.ones(used.sum())
    if amounts.sum() <= 0:
        return None
    third = np.minimum((height[used] * len(ZONES)).astype(int), len(ZONES) - 1)
    return {name: float(amounts[third == i].sum() / amounts.sum()) for i, name in enumerate(ZONES)}


def sides(maps: np.ndarray, lung: np.ndarray, body: np.ndarray) -> dict[str, float] | None:
    """The shares of the left, right, ventral and dorsal halves in a pattern's evidence on these slices.

    The midline is the centre of the body; the ventral half is that of the lung's depth on each slice.

    Parameters
    ----------
    maps : ndarray of shape (m, h, w)
        Contributions; rows go to the back, columns to the patient's left.
    lung, body : ndarray of shape (m, h, w), bool

    Returns
    -------
    dict of str to float or None
        "left" and "right" add up to 1, like "ventral" and "dorsal"; None without evidence inside the lung.
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
