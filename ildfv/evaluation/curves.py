"""ROC and precision–recall curves of one or several folds, thinned for storage.

The scores of models of different folds are on different scales. The curves of folds are therefore averaged, not pooled:
true positive rates at equal false positive rates, and precisions at equal recalls. Each ROC curve is weighted by its
number of positive–negative pairs, and each precision–recall curve by its number of positives. The area under the
average is then the pooled AUC or AP. Thinning a curve does not change its area.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Curve = tuple[np.ndarray, np.ndarray]  # x and y of the points; x ascends, and equal neighbours form a vertical line


def mean_roc(curves: Sequence[Curve], weights: Sequence[float]) -> Curve:
    """(fpr, tpr) of the weighted mean of ROC curves. Its area is the weighted mean of their areas."""
    if len(curves) == 1:
        return curves[0]
    knots = np.unique(np.concatenate([fpr for fpr, _ in curves]))
    share = np.asarray(weights, dtype=float) / np.sum(weights)
    ends = [np.stack(_limits(fpr, tpr, knots)) for fpr, tpr in curves]  # (2, knots) each
    mean = np.einsum("f,fsk->ks", share, np.array(ends))  # (knots, 2): before and after a vertical line
    return _without_repeats(np.repeat(knots, 2), mean.ravel())


def _limits(x: np.ndarray, y: np.ndarray, knots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values of a polyline just before and just after each knot, interpolated linearly between the points."""
    first, last = np.searchsorted(x, knots, "left"), np.searchsorted(x, knots, "right") - 1
    between = np.interp(knots, x, y)
    there = first <= last  # whether the knot is an x of this polyline
    lower = np.where(there, y[np.minimum(first, len(y) - 1)], between)
    return lower, np.where(there, y[last], between)


def mean_pr(curves: Sequence[Curve], weights: Sequence[float]) -> Curve:
    """(recall, precision) of the weighted mean of precision–recall curves, as a step function.

    Each precision applies from the previous recall to its own recall. The area under the steps is the weighted mean of
    the average precisions.
    """
    if len(curves) == 1:
        return curves[0]
    knots = np.unique(np.concatenate([recall for recall, _ in curves]))
    share = np.asarray(weights, dtype=float) / np.sum(weights)
    rows = [precision[np.searchsorted(recall, knots, "left")] for recall, precision in curves]
    return knots, share @ np.array(rows)


def thinned_roc(curve: Curve, points: int) -> Curve:
    """An ascending ROC curve of at most `points` points, with the same end points and the same area.

    Half of the points are points of the curve, evenly spaced by arc length. Between two neighbours among these, one new
    point replaces all omitted points. It is on the falling diagonal of the rectangle that the two neighbours span: at a
    fraction s of the rectangle's height, the area under the new path is s times that of the rectangle.
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
    """A precision–recall curve of at most `points` points, with the same end points and the same area.

    The returned recalls are those of points of the curve that are evenly spaced by arc length. Each returned precision
    is the mean precision of the curve since the previous returned point.
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
    """Ascending indices of at most `number` points, evenly spaced by arc length, including the first and last."""
    along = np.concatenate([[0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    chosen = np.searchsorted(along, np.linspace(0, along[-1], number))
    chosen[-1] = len(x) - 1
    return np.unique(np.clip(chosen, 0, len(x) - 1))


def _without_repeats(x: np.ndarray, y: np.ndarray) -> Curve:
    """The points, without any point that equals the point before it."""
    new = np.concatenate([[True], (np.diff(x) != 0) | (np.diff(y) != 0)])
    return x[new], y[new]
