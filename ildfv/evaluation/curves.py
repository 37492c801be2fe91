"""ROC and precision–recall curves of one or several folds, short enough to store, whose areas are the AUC and AP.

Models of different folds have no common scale, so the curves of folds are averaged and not pooled: true positive rates
at equal false positive rates, and precisions at equal recalls. With the number of pairs or positives of each fold as
its weight, the area under the average is the pooled AUC or AP. A curve is thinned without changing its area.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Curve = tuple[np.ndarray, np.ndarray]  # x and y of its points; x ascends, equal neighbours are a vertical line


def mean_roc(curves: Sequence[Curve], weights: Sequence[float]) -> Curve:
    """(fpr, tpr) of the weighted mean of ROC curves: the area under it is the weighted mean of their areas."""
    if len(curves) == 1:
        return curves[0]
    knots = np.unique(np.concatenate([fpr for fpr, _ in curves]))
    share = np.asarray(weights, dtype=float) / np.sum(weights)
    ends = [np.stack(_limits(fpr, tpr, knots)) for fpr, tpr in curves]  # (2, knots) each
    mean = np.einsum("f,fsk->ks", share, np.array(ends))  # (knots, 2): before and after a vertical line
    return _without_repeats(np.repeat(knots, 2), mean.ravel())


def _limits(x: np.ndarray, y: np.ndarray, knots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A polyline's values just before and just after each knot, linear between its points."""
    first, last = np.searchsorted(x, knots, "left"), np.searchsorted(x, knots, "right") - 1
    between = np.interp(knots, x, y)  # from the last of equal x to the first of the next
    there = first <= last  # the knot is an x of this polyline
    lower = np.where(there, y[np.minimum(first, len(y) - 1)], between)
    return lower, np.where(there, y[last], between)


def mean_pr(curves: Sequence[Curve], weights: Sequence[float]) -> Curve:
    """(recall, precision) of the weighted mean of precision–recall curves, as steps.

    Each precision applies from the previous recall to its own. The area under the steps is the weighted mean of the
    average precisions.
    """
    if len(curves) == 1:
        return curves[0]
    knots = np.unique(np.concatenate([recall for recall, _ in curves]))
    share = np.asarray(weights, dtype=float) / np.sum(weights)
    rows = [precision[np.searchsorted(recall, knots, "left")] for recall, precision in curves]
    return knots, share @ np.array(rows)


def thinned_roc(curve: Curve, points: int) -> Curve:
    """At most `points` points, ends kept, of the same area and still ascending.

    Points are chosen evenly by arc length. Between two of them, one more replaces all omitted points. It is on the
    falling diagonal of their rectangle, where a fraction s of the height gives an area of s times the rectangle.
    """
    x, y = curve
    if len(x) <= points:
        return curve
    kept = _spaced(x, y, (points + 1) // 2)
    below = np.concatenate([[0], np.cumsum(np.diff(x) * (y[:-1] + y[1:]) / 2)])
    x0, x1, y0, y1 = x[kept[:-1]], x[kept[1:]], y[kept[:-1]], y[kept[1:]]
    box = (x1 - x0) * (y1 - y0)
    share = np.divide(np.diff(below[kept]) - (x1 - x0) * y0, box, out=np.full(len(box), 0.5), where=box > 0)
    share = np.clip(share, 0, 1)
    between = np.stack([x1 - share * (x1 - x0), y0 + share * (y1 - y0)])  # (2, kept − 1)
    chosen = np.stack([x[kept], y[kept]])
    found = np.insert(chosen, np.arange(1, len(kept)), between, axis=1)
    return found[0], found[1]


def thinned_pr(curve: Curve, points: int) -> Curve:
    """At most `points` points of the steps, ends kept, of the same area.

    Points are chosen evenly by arc length; the precision up to a chosen recall is the mean over the omitted recalls.
    """
    recall, precision = curve
    if len(recall) <= points:
        return curve
    kept = _spaced(recall, precision, points)
    below = np.concatenate([[0], np.cumsum(np.diff(recall) * precision[1:])])
    wide = np.diff(recall[kept])
    mean = np.divide(np.diff(below[kept]), wide, out=precision[kept[1:]].copy(), where=wide > 0)
    return recall[kept], np.concatenate([precision[:1], mean])


def _spaced(x: np.ndarray, y: np.ndarray, number: int) -> np.ndarray:
    """Ascending indices of at most `number` points, evenly spaced by arc length, with both ends."""
    along = np.concatenate([[0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    chosen = np.searchsorted(along, np.linspace(0, along[-1], number))
    chosen[-1] = len(x) - 1
    return np.unique(np.clip(chosen, 0, len(x) - 1))


def _without_repeats(x: np.ndarray, y: np.ndarray) -> Curve:
    """The points without those equal to the one before."""
    new = np.concatenate([[True], (np.diff(x) != 0) | (np.diff(y) != 0)])
    return x[new], y[new]
