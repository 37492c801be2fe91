"""Least squares of several outputs on one design, from sums of products; also for designs of deficient rank."""

from __future__ import annotations

import numpy as np


class Design:
    """The inverse of the design's normal equations, computed once for all outputs.

    Directions whose eigenvalue is no larger than the rounding error are dropped. Among all coefficients with the same
    fit, this gives those of least norm after each slope is multiplied by the standard deviation of its feature.

    Parameters
    ----------
    products : ndarray of shape (p + 1, p + 1)
        Sums of products of (1, x) with itself.
    ridge : float
        Penalty on squared slopes; the intercept is not penalised.
    """

    def __init__(self, products: np.ndarray, ridge: float):
        self.products, self.ridge = products, ridge
        n, p = products[0, 0], len(products) - 1
        self.mean = products[0, 1:] / n  # (p,)
        about_mean = products[1:, 1:] - n * np.outer(self.mean, self.mean)
        spread = np.diag(about_mean) + ridge
        lost = n * np.finfo(float).eps * np.diag(products)[1:]  # rounding error of the variance of a constant feature
        self.scale = np.where(spread > lost, np.sqrt(np.maximum(spread, 0.0)), 1.0)
        constant = spread <= lost
        correlation = (about_mean + ridge * np.eye(p)) / np.outer(self.scale, self.scale)
        correlation[constant], correlation[:, constant] = 0.0, 0.0
        values, vectors = np.linalg.eigh(correlation)
        kept = values > 10 * p * np.finfo(float).eps * max(values[-1], 0.0)
        self.rank = int(kept.sum())
        self.null = vectors[:, ~kept]  # (p, p − rank)
        half = vectors[:, kept] / np.sqrt(values[kept]) / self.scale[:, None]
        slopes = half @ half.T  # (p, p)
        edge = slopes @ self.mean
        self.inverse = np.block([[1 / n + self.mean @ edge, -edge[None]], [-edge[:, None], slopes]])  # (p + 1, p + 1)

    def solve(self, right: np.ndarray) -> np.ndarray:
        """Coefficients (p + 1, c) for products (p + 1, c) of (1, x) with the outputs."""
        slopes = self.inverse[1:, 1:] @ (right[1:] - np.outer(self.mean, right[0]))
        return np.vstack([right[:1] / self.products[0, 0] - self.mean @ slopes, slopes])

    def undetermined(self, centre: np.ndarray) -> np.ndarray:
        """Mask (p + 1,) of the coefficients, intercept first, that the data do not determine."""
        free = self.null / self.scale[:, None]  # directions in which coefficients do not affect predictions
        size = np.abs(free).max(axis=1, initial=0.0) * self.scale
        intercept = np.abs((self.mean + centre) @ free).max(initial=0.0)
        return np.append(intercept, size) > 1e-6
