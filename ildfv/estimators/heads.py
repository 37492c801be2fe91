"""Ridge and logistic regression for few rows: the penalty of each output is chosen by cross-validation over groups.

The rows of a group (the slices of a patient) are never in both parts of a split. The scores on held-out groups are kept
for the chosen penalty, so that decision thresholds can be set without additional rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit
from threadpoolctl import threadpool_limits

from ildfv.appearance import by_appearance
from ildfv.errors import check
from ildfv.estimators.bag_path import bag_path
from ildfv.estimators.bags import Bags, shared_score
from ildfv.estimators.penalised import logistic_path, ridge_path

KINDS = ("ridge", "logistic")
PENALTIES = tuple(10.0**e for e in range(-4, 3))  # per row, for features scaled to a mean squared norm of 1
SPLITS = 5  # maximum number of splits; there are no more splits than groups
CLIP = 1e-6  # distance of predicted probabilities from 0 and 1, so that one wrong prediction does not decide the choice


@dataclass(frozen=True)
class Head:
    """Linear scores of c outputs: X·coefᵀ + intercept.

    coef: (c, p). intercept: (c,). penalties: (c,), as in `PENALTIES`; NaN for an output with one class or no label,
    whose score is constant. held_out: (n, c), scores of the training rows by models fitted on other groups.
    """

    coef: np.ndarray
    intercept: np.ndarray
    penalties: np.ndarray
    held_out: np.ndarray

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Scores (m, c) of features (m, p)."""
        return np.asarray(x, np.float64) @ self.coef.T + self.intercept

    def to_tensors(self) -> dict[str, np.ndarray]:
        """The learned arrays, named like those of `MultivariateRegression`."""
        return {"coef": self.coef, "intercept": self.intercept}


def fit_head(
    kind: str,
    x: np.ndarray,
    y: np.ndarray,
    groups: np.ndarray,
    *,
    penalties: Sequence[float] = PENALTIES,
    seed: int = 0,
    bags: Bags | None = None,
) -> Head:
    """The head fitted on all rows. Each output has the penalty with the lowest error on held-out groups.

    Parameters
    ----------
    kind : {"ridge", "logistic"}
        "ridge" minimises the squared error, "logistic" the logistic loss.
    x : ndarray of shape (n, p)
        Features, finite. They are centred and scaled by one number, which preserves their relative variances.
    y : ndarray of shape (n, c)
        Targets, NaN = unknown; 0 or 1 for "logistic". Unknown entries are excluded from the loss.
    groups : ndarray of shape (n,)
        The group (patient) of each row.
    penalties : sequence of float
        Candidates, above 0, ascending.
    seed : int
        Seed of the splits into groups.
    bags : Bags, optional
        Bags of rows, such as the slices of a scan, if only labels of bags are known. Each row of y then has the label
        of its bag. The loss is computed over bags, but scores are still predicted for rows. kind must be "logistic".

    Raises
    ------
    InputError
        An unknown kind, shapes that differ, features that are not finite, targets other than 0 and 1 for "logistic", or
        fewer than two groups. With bags also: kind "ridge", labels that differ in a bag, or a bag in two groups.
    """
    check(kind in KINDS, f'head must be {" or ".join(KINDS)}, got "{kind}"')
    x, y, groups = np.asarray(x, np.float64), np.asarray(y, np.float64), np.asarray(groups)
    check(x.ndim == y.ndim == 2, f"x and y must have two dimensions, got {x.ndim} and {y.ndim}")
    lengths = len(x), len(y), len(groups)
    check(len(set(lengths)) == 1, f"x, y and groups must have the same length, got {', '.join(map(str, lengths))}")
    check(bool(np.isfinite(x).all()), "x must be finite, got NaN or infinity")
    known = y[np.isfinite(y)]
    check(
        kind != "logistic" or bool(np.isin(known, (0, 1)).all()), "y must be 0, 1 or NaN for logistic, got other values"
    )
    if bags is not None:
        _check_bags(kind, bags, y, groups)
    distinct, _, groups = by_appearance(groups)
    n_groups = len(distinct)
    check(n_groups >= 2, f"groups must have at least 2 values, for fitting and validation, got {n_groups}")
    centre = x.mean(axis=0)
    scale = np.sqrt(((x - centre) ** 2).sum(axis=1).mean()) or 1.0
    from sklearn.model_selection import GroupKFold  # slow import, which the linear head does not need

    splits = list(GroupKFold(min(SPLITS, n_groups), shuffle=True, random_state=seed).split(x, groups=groups))
    with threadpool_limits(1):  # threads made these small problems 10 times slower on a busy machine
        columns = [_fit_output(kind, (x - centre) / scale, column, splits, penalties, bags) for column in y.T]
    coef = np.stack([w for w, _, _, _ in columns]) / scale
    return Head(
        coef=coef,
        intercept=np.array([b for _, b, _, _ in columns]) - coef @ centre,
        penalties=np.array([penalty for _, _, penalty, _ in columns]),
        held_out=np.stack([scores for _, _, _, scores in columns], axis=1),
    )


def _check_bags(kind: str, bags: Bags, y: np.ndarray, groups: np.ndarray) -> None:
    """Raises InputError unless the head is logistic, and the rows of each bag have equal labels and one group."""
    check(kind == "logistic", f'head must be logistic with labels of bags, got "{kind}"')
    check(len(bags.of) == len(y), f"bags must have {len(y)} rows, got {len(bags.of)}")
    same = np.flatnonzero(np.diff(bags.of) == 0)  # rows that are in the same bag as the next row
    check(bool((groups[same] == groups[same + 1]).all()), "a bag must be in one group, got a bag in two groups")
    equal = np.array_equal(y[same], y[same + 1], equal_nan=True)
    check(equal, "y must be equal in all rows of a bag, got different labels")


def _fit_output(
    kind: str, x: np.ndarray, y: np.ndarray, splits: list, penalties: Sequence[float], bags: Bags | None
) -> tuple[np.ndarray, float, float, np.ndarray]:
    """(weights (p,), intercept, penalty, held-out scores (n,)) of one output."""
    known = np.isfinite(y)
    if len(np.unique(y[known])) < 2:
        constant = _constant(kind, y[known], bags and bags.pick(known))
        return np.zeros(x.shape[1]), constant, np.nan, np.full(len(x), constant)
    candidates = _held_out(kind, x, y, splits, penalties, bags)
    errors = [held_out_error(kind, y[known], scores[known], bags and bags.pick(known)) for scores in candidates]
    best = len(errors) - 1 - int(np.argmin(errors[::-1]))  # the largest penalty if errors are equal
    weights, intercepts = _path(kind, x[known], y[known], _warm(penalties, best, bags), bags and bags.pick(known))
    return weights[0], float(intercepts[0]), penalties[best], candidates[best]


def _warm(penalties: Sequence[float], best: int, bags: Bags | None) -> Sequence[float]:
    """The penalties of the final fit: the chosen one and, with bags, all larger ones.

    The loss of bags is not convex. The final fit therefore passes through the larger penalties first, like the fits
    that were compared.
    """
    return penalties[best : best + 1] if bags is None else penalties[best:]


def _held_out(
    kind: str, x: np.ndarray, y: np.ndarray, splits: list, penalties: Sequence[float], bags: Bags | None
) -> np.ndarray:
    """The score of each row, for each penalty, by a model fitted on the other groups, (m, n)."""
    scores = np.empty((len(penalties), len(x)))
    for fit, rest in splits:
        rows = fit[np.isfinite(y[fit])]
        weights, intercepts = _path(kind, x[rows], y[rows], penalties, bags and bags.pick(rows))
        scores[:, rest] = weights @ x[rest].T + intercepts[:, None]
    return scores


def _path(
    kind: str, x: np.ndarray, y: np.ndarray, penalties: Sequence[float], bags: Bags | None
) -> tuple[np.ndarray, np.ndarray]:
    """(weights (m, p), intercepts (m,)) for each penalty. The weights are 0 if the rows have only one class."""
    if len(np.unique(y)) < 2:
        return np.zeros((len(penalties), x.shape[1])), np.full(len(penalties), _constant(kind, y, bags))
    if bags is not None:
        return bag_path(x, y, bags, penalties)
    return (ridge_path if kind == "ridge" else logistic_path)(x, y, penalties)


def _constant(kind: str, y: np.ndarray, bags: Bags | None) -> float:
    """The score if features are not used: the mean, or the logit of the smoothed share of ones; 0 if y is empty.

    With bags, the share counts bags instead of rows, and the score applies to a row in a bag of mean size.
    """
    if kind == "ridge":
        return float(y.mean()) if len(y) else 0.0
    if bags is None or not len(y):
        return float(logit((y.sum() + 1) / (len(y) + 2)))
    starts = bags.starts
    share = (y[starts].sum() + 1) / (len(starts) + 2)
    return shared_score(bags.pooling, float(logit(share)), len(y) / len(starts))


def held_out_error(kind: str, y: np.ndarray, scores: np.ndarray, bags: Bags | None = None) -> float:
    """Mean squared error or mean logistic loss, over rows or over `bags` if given. y, scores: of the rows, (n,)."""
    if kind == "ridge":
        return float(np.mean((y - scores) ** 2))
    if bags is not None:
        y, scores = y[bags.starts], bags.pooled(scores)
    p = np.clip(expit(scores), CLIP, 1 - CLIP)
    return float(-np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)))
