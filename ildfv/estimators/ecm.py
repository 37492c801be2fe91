"""Maximum likelihood of a multivariate regression from sums: least squares for complete labels, otherwise ECM.

Rows are grouped by their pattern of observed labels. Every ECM step uses only the sums of each group, so the data are
read once.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple, Self

import numpy as np
from scipy.linalg import pinvh

from ildfv.arrays import check_finite, check_real, check_shape, like, namespace, to_float64, to_numpy
from ildfv.errors import InputError, check
from ildfv.estimators.base import Sums
from ildfv.estimators.design import Design
from ildfv.estimators.standard_errors import coefficient_covariances

LOST = 1e-13  # fraction of an output's mean square; a smaller residual variance is a rounding error
ALL_PATTERNS = 6  # maximum number of outputs for which sums for all 2^c ≤ 64 patterns of labels are allocated


class RegressionSums(Sums):
    """Sums of products of all pairs among (1, x, y), one matrix per pattern of observed labels, float64.

    Parameters
    ----------
    n_features, n_outputs : int
    centre : ndarray of shape (p + c,), optional
        Subtracted from x and y; zero by default. Only sums with the same centre can be merged.
    patterns : array of bool of shape (P, c), optional
        Expected patterns, True = observed. By default all 2^c if c ≤ 6, otherwise complete rows only.
    grows : bool
        Whether to start without patterns, ignore `patterns`, and add each pattern when it first occurs. Growing sums
        cannot be added over ranks.
    """

    def __init__(self, n_features: int, n_outputs: int, *, centre=None, patterns=None, grows: bool = False):
        if grows:
            patterns = np.empty((0, n_outputs))
        elif patterns is None:
            some = product([False, True], repeat=n_outputs) if n_outputs <= ALL_PATTERNS else [(True,) * n_outputs]
            patterns = list(some)
        self.patterns = np.asarray(patterns, dtype=bool)  # (P, c)
        check_shape(self.patterns, "patterns", (None, n_outputs))
        self.centre = np.zeros(n_features + n_outputs) if centre is None else np.asarray(centre, dtype=float)
        check_shape(self.centre, "centre", (n_features + n_outputs,))
        self.n_features, self.n_outputs, self.grows = n_features, n_outputs, grows
        self._side = side = 1 + n_features + n_outputs
        super().__init__(**{_name(pattern): (side, side) for pattern in self.patterns})

    def update(self, x, y) -> Self:
        """Add rows x (m, p) with labels y (m, c), NaN = missing."""
        p, c = self.n_features, self.n_outputs
        check_shape(x, "X", (None, p))
        check_shape(y, "Y", (x.shape[0], c))
        check_finite(x, "X")
        check_real(y, "Y")
        xp = namespace(x)
        labels = to_numpy(y, dtype=np.float64)
        check(not np.isinf(labels).any(), "Y must be finite or NaN, got inf")
        found, label = np.unique(~np.isnan(labels), axis=0, return_inverse=True)
        x, y = to_float64(x), like(labels, x)
        y = y - like(self.centre[p:], x)
        y = xp.where(xp.isnan(y), xp.zeros_like(y), y)
        rows = xp.concat([xp.ones_like(x[:, :1]), x - like(self.centre[:p], x), y], axis=1)
        for i, pattern in enumerate(found):
            name = _name(pattern)
            if name not in self._sums and self.grows:
                self.patterns = np.concatenate([self.patterns, pattern[None]])
                self._sums[name] = np.zeros((self._side, self._side))
            if name not in self._sums:
                observed = name.split("_")[1]
                rule = "each row of Y must have one of the given patterns of observed labels"
                raise InputError(f"{rule}, got {observed} (1: observed)")
            matching = xp.take(rows, like(np.flatnonzero(label.reshape(-1) == i), x), axis=0)
            self._add(name, matching.T @ matching)
        return self

    def observed(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """(observed outputs, products) for each pattern that has rows and at least one label."""
        state = self.state()
        finite = all(np.isfinite(products).all() for products in state.values())
        check(finite, "sums of products of X and Y must be finite, got values of 1e150 or more: rescale them")
        pairs = [(np.flatnonzero(pattern), state[_name(pattern)]) for pattern in self.patterns]
        return [(outputs, sums) for outputs, sums in pairs if len(outputs) and sums[0, 0] > 0]


class Solution(NamedTuple):
    """Estimates of a regression; column 0 of coefficients and errors (c, 1 + p) is the intercept."""

    coefficients: np.ndarray
    errors: np.ndarray
    covariance: np.ndarray
    log_likelihood: float
    rank: int
    n_samples: int
    n_iter: int
    converged: bool


def solve(sums: RegressionSums, *, ridge: float, max_iter: int, tol: float, standard_errors: bool = True) -> Solution:
    """Maximum likelihood coefficients and residual covariance for the given sums.

    standard_errors: whether to compute the standard errors; otherwise `errors` is NaN.
    """
    groups = sums.observed()
    p, c = sums.n_features, sums.n_outputs
    n = round(sum(products[0, 0] for _, products in groups))
    check(n > 0, "Y must contain at least one label, got none")
    for j in set(range(c)) - {int(j) for outputs, _ in groups for j in outputs}:
        raise InputError(f"Y must contain at least one label of each output, got none of output {j}")
    design = Design(np.sum([products[: p + 1, : p + 1] for _, products in groups], axis=0), ridge)
    complete = all(len(outputs) == c for outputs, _ in groups)
    coefficients, covariance, lost = _means_and_variances(groups, p, c)  # starting values of ECM
    log_likelihood, converged, steps = -np.inf, False, 0
    variance = np.diag(covariance)
    while steps < max_iter and not converged:
        previous_coefficients = coefficients
        coefficients, covariance = _step(groups, design, coefficients, covariance)
        covariance = _without_rounding(covariance, lost)
        known = np.diag(covariance) > 0  # the likelihood of an output without residuals is unbounded
        previous, steps = log_likelihood, steps + 1
        log_likelihood = _log_likelihood(groups, coefficients, covariance, known)
        if log_likelihood < np.inf and known.any():
            converged = complete or abs(log_likelihood - previous) < tol * n
        else:  # the likelihood is unbounded for a combination of outputs: wait until the coefficients no longer change
            change = coefficients - previous_coefficients
            squares = np.einsum("ij,ik,kj->j", change, design.products, change, optimize=True)  # (c,)
            converged = complete or bool((squares <= n * (tol * variance + lost)).all())
    check(bool(np.isfinite(coefficients).all()), "squares of X must not underflow in float64: rescale X")
    origin = np.eye(p + 1)
    origin[0, 1:] = -sums.centre[:p]  # from coefficients about the centre to coefficients about zero
    errors = np.full((c, p + 1), np.nan)
    if standard_errors:
        spreads = coefficient_covariances(groups, design, coefficients, covariance, complete=complete)
        for row, spread in zip(errors, spreads, strict=True):
            row[:] = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", origin, spread, origin, optimize=True), 0.0))
        errors[:, design.undetermined(sums.centre[:p])] = np.nan
    coefficients = origin @ coefficients
    coefficients[0] += sums.centre[p:]
    likelihood = log_likelihood if known.all() else np.inf
    return Solution(coefficients.T, errors, covariance, likelihood, design.rank, n, steps, bool(converged))


def _means_and_variances(groups: list, p: int, c: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Starting values: each output's mean as coefficients (p + 1, c) and its variance as a diagonal covariance (c, c).

    The third result is the variance (c,) up to which, because of rounding, an output may be a constant.
    """
    mean, variance, lost = np.zeros(c), np.zeros(c), np.zeros(c)
    for j in range(c):
        y = p + 1 + j
        count, total, squares = sum(m[[0, 0, y], [0, y, y]] for outputs, m in groups if j in outputs)
        mean[j], variance[j] = total / count, (squares - total**2 / count) / count
        lost[j] = LOST * squares / count
    return np.vstack([mean, np.zeros((p, c))]), _without_rounding(np.diag(variance), lost), lost


def _without_rounding(covariance: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """The covariance, set to 0 for outputs whose variance is a rounding error, so that they do not affect others."""
    known = np.diag(covariance) > lost
    return np.where(known & known[:, None], covariance, 0.0)


def _step(groups: list, design: Design, coefficients: np.ndarray, covariance: np.ndarray) -> tuple:
    """One ECM step: conditional expectations of missing labels, least squares, then the residual covariance."""
    q, c = coefficients.shape
    right, squares, n = np.zeros((q, c)), np.zeros((c, c)), 0.0
    for outputs, products in groups:
        missing = np.setdiff1d(np.arange(c), outputs)
        gain = pinvh(covariance[np.ix_(outputs, outputs)]) @ covariance[np.ix_(outputs, missing)]  # (o, m)
        expected = np.zeros((q + c, c))  # (1, x, y) · expected = y with missing labels filled in
        expected[q + outputs, outputs] = 1.0
        expected[:q, missing] = coefficients[:, missing] - coefficients[:, outputs] @ gain
        expected[np.ix_(q + outputs, missing)] = gain
        right += products[:q] @ expected
        squares += expected.T @ products @ expected
        unknown = covariance[np.ix_(missing, missing)] - covariance[np.ix_(missing, outputs)] @ gain
        squares[np.ix_(missing, missing)] += products[0, 0] * unknown
        n += products[0, 0]
    coefficients = design.solve(right)
    cross = coefficients.T @ right
    covariance = (squares - cross - cross.T + coefficients.T @ design.products @ coefficients) / n
    covariance = (covariance + covariance.T) / 2
    return coefficients, covariance


def _log_likelihood(groups: list, coefficients: np.ndarray, covariance: np.ndarray, known: np.ndarray) -> float:
    """Log likelihood, in nats, of the observed labels of the `known` outputs; +inf if their covariance is singular."""
    c = len(covariance)
    total = 0.0
    for outputs, products in groups:
        outputs = outputs[known[outputs]]
        residual = np.vstack([-coefficients, np.eye(c)])[:, outputs]  # (1, x, y) · residual = y − expectation
        own = covariance[np.ix_(outputs, outputs)]
        sign, logdet = np.linalg.slogdet(own)
        if sign <= 0:
            return np.inf
        squares = residual.T @ products @ residual
        n = products[0, 0]
        total -= 0.5 * (n * (len(outputs) * np.log(2 * np.pi) + logdet) + np.trace(np.linalg.solve(own, squares)))
    return float(total)


def _name(pattern: np.ndarray) -> str:
    """The name of the sums of a pattern: "products_101" if outputs 0 and 2 are observed."""
    return "products_" + "".join("1" if seen else "0" for seen in pattern)
