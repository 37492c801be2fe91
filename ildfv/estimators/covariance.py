"""Sums from which covariances, or their products with a few directions, are computed."""

from __future__ import annotations

from typing import Self

import numpy as np

from ildfv.arrays import like, namespace, to_float64, to_numpy
from ildfv.errors import check
from ildfv.estimators.base import Sums

ROWS = 512  # rows of a covariance updated at a time, to avoid a temporary matrix as large as the covariance
FEATURES = 8192  # columns of wide rows processed at a time, for the same reason
TOO_LARGE = "sums of squares of the rows must be finite, got values of 1e150 or more: rescale them"


class CovarianceSums(Sums):
    """Count, sum and outer products of rows, float64, from which means and covariances are computed.

    Parameters
    ----------
    n_features : int
    centre : ndarray of shape (n_features,), optional
        Subtracted from every row; zero by default. Only sums with the same centre can be merged. The centre affects
        only the rounding errors: if the mean is many standard deviations from zero, choose a centre near the mean.
    """

    def __init__(self, n_features: int, *, centre: np.ndarray | None = None):
        self.centre = np.zeros(n_features) if centre is None else np.asarray(centre, dtype=np.float64)
        super().__init__(count=(), sum=(n_features,), outer=(n_features, n_features))

    def update(self, x) -> Self:
        """Add the rows of x (m, d)."""
        xp, e = _centred(self.centre, x)  # (m, d)
        self._add("count", float(x.shape[0]))
        self._add("sum", xp.sum(e, axis=0))
        for start in range(0, e.shape[1], ROWS):
            rows = slice(start, min(start + ROWS, e.shape[1]))
            self._add("outer", e[:, rows].T @ e, (rows, ...))
        return self

    def finish(self, *, overwrite: bool = False) -> tuple[int, np.ndarray, np.ndarray]:
        """Number of rows, mean (d,) and covariance (d, d) with divisor n − 1.

        With `overwrite`, the covariance may be computed in the memory of the sums, which are invalid afterwards.
        """
        covariance = to_numpy(self.outer) if overwrite else np.array(to_numpy(self.outer))
        n = _checked_count(self, np.diag(covariance))
        shift = to_numpy(self.sum) / n  # (d,)
        for row, value in zip(covariance, shift, strict=True):
            row -= n * value * shift
        covariance /= n - 1
        return n, self.centre + shift, covariance


class ProductSums(Sums):
    """Sums from which covariance × directions (d, l) is computed, in one pass and O(d·l) memory."""

    def __init__(self, directions: np.ndarray, *, centre: np.ndarray):
        self.directions, self.centre = directions, np.asarray(centre, dtype=np.float64)
        d = len(directions)
        super().__init__(count=(), sum=(d,), squares=(), product=directions.shape)

    def update(self, x) -> Self:
        """Add the rows of x (m, d)."""
        projections = 0.0
        self._add("count", float(x.shape[0]))
        for columns in self._column_blocks():
            xp, e = _centred(self.centre, x, columns)  # (m, features)
            self._add("sum", xp.sum(e, axis=0), columns)
            self._add("squares", xp.sum(e * e))
            projections = projections + e @ like(self.directions[columns], e, "float64")  # (m, l)
        for columns in self._column_blocks():
            self._add("product", _centred(self.centre, x, columns)[1].T @ projections, (columns, ...))
        return self

    def finish(self, *, overwrite: bool = False) -> tuple[int, np.ndarray, float, np.ndarray]:
        """Number of rows, mean (d,), total variance and covariance × directions (d, l); divisor n − 1.

        With `overwrite`, the product may be computed in the memory of the sums, which are invalid afterwards.
        """
        n = _checked_count(self, to_numpy(self.squares))
        shift = to_numpy(self.sum) / n  # (d,)
        product = to_numpy(self.product) if overwrite else np.array(to_numpy(self.product))
        along = sum(shift[columns] @ self.directions[columns] for columns in self._column_blocks())  # (l,)
        for columns in self._column_blocks():
            product[columns] -= np.outer(n * shift[columns], along)
        product /= n - 1
        total = (float(self.squares) - n * float(shift @ shift)) / (n - 1)
        return n, self.centre + shift, total, product

    def _column_blocks(self) -> list[slice]:
        """Slices that divide the features into blocks. A (d, l) matrix may be too large for a second copy in memory."""
        d = len(self.directions)
        return [slice(start, min(start + FEATURES, d)) for start in range(0, d, FEATURES)]


def _checked_count(sums: Sums, squares: np.ndarray) -> int:
    """The number of rows; InputError if no covariance can be computed from the sums."""
    n = int(sums.count)
    check(n > 1, f"covariance needs at least 2 rows, got n_samples = {n}")
    check(bool(np.isfinite(squares).all()), TOO_LARGE)
    return n


def _centred(centre: np.ndarray, x, columns: slice = slice(None)):
    """The array namespace of x, and the given columns of x − centre in float64."""
    check(x.ndim == 2 and x.shape[1] == len(centre), f"rows must have shape (m, {len(centre)}), got {tuple(x.shape)}")
    return namespace(x), to_float64(x[:, columns]) - like(centre[columns], x)
