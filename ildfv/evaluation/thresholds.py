"""Decision thresholds and calibrated probabilities, fitted on validation slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ildfv.errors import check


@dataclass(frozen=True)
class Sigmoid:
    """The function 1 / (1 + exp(−(slope·score + intercept))), which converts a score to a probability."""

    slope: float
    intercept: float

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        from scipy.special import expit

        return expit(self.slope * np.asarray(scores, dtype=float) + self.intercept)


@dataclass(frozen=True)
class Decisions:
    """A decision threshold and a sigmoid for each pattern.

    The threshold is None if no validation slice shows the pattern. The pattern is then never predicted, and its
    decision metrics are undefined. The sigmoid is None if all or no validation slices show the pattern. The pattern
    then has no probability, and its Brier score and calibration curve are undefined.
    """

    thresholds: tuple[float | None, ...]
    sigmoids: tuple[Sigmoid | None, ...]

    @classmethod
    def fit(cls, truth: np.ndarray, scores: np.ndarray) -> Decisions:
        """Decisions fitted on validation slices. truth (N, C): 1, 0 or −1 (unknown). scores (N, C).

        InputError: the shapes are not equal and two-dimensional.
        """
        truth, scores = np.asarray(truth), np.asarray(scores, dtype=float)
        check(truth.ndim == 2, f"truth must have shape (N, C), got {truth.shape}")
        check(truth.shape == scores.shape, f"scores must have shape {truth.shape}, got {scores.shape}")
        columns = [(y[y >= 0], f[y >= 0]) for y, f in zip(truth.astype(int).T, scores.T, strict=True)]
        return cls(tuple(best_threshold(y, f) for y, f in columns), tuple(fit_sigmoid(y, f) for y, f in columns))

    @classmethod
    def at(cls, thresholds: Sequence[float | None]) -> Decisions:
        """Decisions with the given thresholds, one per pattern, and without sigmoids."""
        values = list(thresholds)
        return cls(tuple(None if v is None else float(v) for v in values), (None,) * len(values))

    def predict(self, scores: np.ndarray) -> np.ndarray:
        """Whether each pattern is predicted, that is, score ≥ threshold; bool, shape (N, C)."""
        limits = np.array([np.inf if t is None else t for t in self.thresholds])
        return np.asarray(scores, dtype=float) >= limits

    def probability(self, scores: np.ndarray) -> np.ndarray:
        """Calibrated probabilities, shape (N, C); NaN for a pattern without a sigmoid."""
        columns = np.asarray(scores, dtype=float).T
        return np.stack(
            [np.full(f.shape, np.nan) if s is None else s(f) for s, f in zip(self.sigmoids, columns, strict=True)], 1
        )


def best_threshold(truth: np.ndarray, scores: np.ndarray) -> float | None:
    """The threshold with the largest F, or the highest of several such thresholds; None without positives.

    It is the midpoint between two neighbouring scores, or the lowest score. truth: 0/1 or bool, (N,). scores: (N,).
    """
    truth, scores = np.asarray(truth) > 0, np.asarray(scores, dtype=float)
    n_positive = int(truth.sum())
    if n_positive == 0:
        return None
    distinct, rank = np.unique(scores, return_inverse=True)
    n_predicted = np.cumsum(np.bincount(rank)[::-1])  # [i]: slices with at least the i-th largest score
    tp = np.cumsum(np.bincount(rank, weights=truth)[::-1])
    f = 2 * tp / (n_predicted + n_positive)
    distinct = distinct[::-1]
    best = int(np.argmax(f))
    if best + 1 == len(distinct):
        return float(distinct[best])
    middle = float((distinct[best] + distinct[best + 1]) / 2)
    return middle if distinct[best + 1] < middle else float(distinct[best])  # no float lies between


def fit_sigmoid(truth: np.ndarray, scores: np.ndarray, *, max_iter: int = 100) -> Sigmoid | None:
    """Platt's logistic calibration of scores to probabilities; None if only one class is present.

    truth: 0/1 or bool, (N,). scores: (N,). max_iter: maximum number of Newton steps.

    The targets are (n₊ + 1)/(n₊ + 2) and 1/(n₋ + 2) instead of 1 and 0 (Platt 1999), so that the fit exists even if the
    classes are separable. The fit uses Newton's method with step halving (Lin, Lin, Weng 2007) in float64.
    """
    from scipy.special import expit

    truth, scores = np.asarray(truth) > 0, np.asarray(scores, dtype=float)
    n_pos, n_neg = int(truth.sum()), int((~truth).sum())
    if n_pos == 0 or n_neg == 0:
        return None
    target = np.where(truth, (n_pos + 1) / (n_pos + 2), 1 / (n_neg + 2))
    centre, spread = scores.mean(), scores.std() or 1.0
    x = np.stack([(scores - centre) / spread, np.ones(len(scores))])  # (2, N)

    def loss(w: np.ndarray) -> float:
        z = w @ x
        return float(np.sum(np.logaddexp(0, z) - target * z))

    w = np.array([0.0, np.log((n_pos + 1) / (n_neg + 1))])
    for _ in range(max_iter):
        p = expit(w @ x)
        gradient = x @ (p - target)
        if np.abs(gradient).max() < 1e-9 * len(scores):
            break
        hessian = (x * (p * (1 - p))) @ x.T + 1e-12 * np.eye(2)
        step, before, size = np.linalg.solve(hessian, gradient), loss(w), 1.0
        while loss(w - size * step) > before - 1e-4 * size * (gradient @ step) and size > 1e-10:
            size /= 2
        w = w - size * step
    return Sigmoid(slope=float(w[0] / spread), intercept=float(w[1] - w[0] * centre / spread))
