"""Sums for covariances: over all pairs of features, or only their products with a few directions."""

from __future__ import annotations

from typing import Self

import numpy as np

from ildfv.arrays import like, namespace, to_float64, to_numpy
from ildfv.errors import check
from ildfv.estimators.base import Sums

ROWS = 512  # of a covariance added up at once: no second matrix of its size is needed


class CovarianceSums(Sums):
    """Count, sum and outer products of rows about `centre` (d,), float64: all that covariances and regressions need.

    Sums add up only about the same centre. Any centre gives the same result but for rounding; one near the mean keeps
    all digits where the mean is many standard deviations from zero, the default.
    """

    def __init__(self, n_features: int, *, centre: np.ndarray | None = None):
        self.centre = np.zeros(n_features) if centre is None else np.asarray(centre, dtype=np.float64)
        super().__init__(count=(), sum=(n_features,), outer=(n_features, n_features))

    def update(self, x) -> Self:
        """Adds the rows of x (m, d)."""
        xp, e = _about(self.centre, x)  # (m, d)
        self._add("count", float(x.shape[0]))
        self._add("sum", xp.sum(e, axis=0))
        for start in range(0, e.shape[1], ROWS):
            rows = slice(start, min(start + ROWS, e.shape[1]))
            self._add("outer", e[:, rows].T @ e, (rows, ...))
        return self

    def finish(self) -> tuple[int, np.ndarray, np.ndarray]:
        """Number of rows, mean (d,) and covariance (d, d) with divisor n − 1."""
        covariance = np.array(to_numpy(self.outer))
        n = _counted(self, np.diag(covariance))
        shift = to_numpy(self.sum) / n  # (d,)
        for row, value in zip(covariance, shift, strict=True):
            row -= n * value * shift
        covariance /= n - 1
        return n, self.centre + shift, covariance


class ProductSums(Sums):
    """Sums that give covariance × directions (d, l) in one pass and O(d·l) memory, with no (d, d) matrix."""

    def __init__(self, directions: np.ndarray, *, centre: np.ndarray):
        self.directions, self.centre = directions, np.asarray(centre, dtype=np.float64)
        d = len(directions)
        super().__init__(count=(), sum=(d,), squares=(), product=directions.shape)

    def update(self, x) -> Self:
        """Adds the rows of x (m, d)."""
        xp, e = _about(self.centre, x)  # (m, d)
        self._add("count", float(x.shape[0]))
        self._add("sum", xp.sum(e, axis=0))
        self._add("squares", xp.sum(e * e))
        shares = e @ like(self.directions, e)  # (m, l)
        for start in range(0, e.shape[1], ROWS):  # no second (d, l)
            rows = slice(start, start + ROWS)
            self._add("product", e[:, rows].T @ shares, (rows, ...))
        return self

    def finish(self) -> tuple[int, np.ndarray, float, np.ndarray]:
        """Number of rows, mean (d,), total variance and covariance × directions (d, l); divisor n − 1."""
        n = _counted(self, to_numpy(self.squares))
        shift = to_numpy(self.sum) / n  # (d,)
        product = np.array(to_numpy(self.product))
        for rows in np.array_split(np.arange(len(shift)), 1 + len(shift) // ROWS):  # no second (d, l) beside it
            product[rows] -= np.outer(n * shift[rows], shift @ self.directions)
        product /= n - 1
        total = (float(self.squares) - n * float(shift @ shift)) / (n - 1)
        return n, self.centre + shift, total, product


def _counted(sums: Sums, squares: np.ndarray) -> int:
    """The number of rows, if a covariance can be had from their sums."""
    n = int(sums.count)
    check(n > 1, f"covariance needs at least 2 rows, got n_samples = {n}")
    check(
        bool(np.isfinite(squares).all()), "rows must have squares that add up in float64, got values of 1e150 or more"
    )
    return n


def _about(centre: np.ndarray, x):
    """The namespace of x and x − centre in float64."""
    check(x.ndim == 2 and x.shape[1] == len(centre), f"rows must have shape (m, {len(centre)}), got {tuple(x.shape)}")
    return namespace(x), to_float64(x) - like(centre, x)
