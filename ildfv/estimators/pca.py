"""Principal components over more rows than memory holds, in scikit-learn's manner."""

from __future__ import annotations

from typing import Self

import numpy as np
from scipy.linalg import eigh
from sklearn.base import BaseEstimator, TransformerMixin

from ildfv.arrays import (
    check_finite,
    check_real,
    check_shape,
    dtype_name,
    floating,
    is_array,
    like,
    namespace,
    to_numpy,
)
from ildfv.errors import check, check_integer
from ildfv.estimators.base import Persistent, as_array, as_batches
from ildfv.estimators.batches import Batches, is_stream
from ildfv.estimators.covariance import CovarianceSums, ProductSums
from ildfv.estimators.krylov import leading_eigenvectors

EXACT = 4096  # features (or rows held in memory): a matrix of 134 MB, solved in a minute; both grow too fast beyond
OVERSAMPLING = 10  # directions in each Krylov block beside the components wanted
# Six such blocks find slowly falling spectra as well as scikit-learn's randomised solver does. Where all would be more
# than this many bytes (512 of 262,144 features), blocks are made smaller, to 1.5 directions a component in all.
BASIS_BYTES, MIN_OVERSAMPLING_RATIO = 3 << 28, 1.5
ROUNDING_SHARE = {"float32": 1e-12, "float64": 1e-16}  # of the first variance: what rounding alone can give a component


class PCA(Persistent, TransformerMixin, BaseEstimator):
    """Principal components by the exact covariance of a stream, or by block Krylov passes where features are too many.

    n_components: at most min(n, d), else an InputError (a caller who prefers fewer says min(…) himself); None takes
    min(n, d). whiten: projections of unit variance, but of components with less than ROUNDING_SHARE of the first one's, which
    rounding gives. Up to 4096 features one pass gives the exact answer, and so do at most 4096 rows of an array;
    beyond, n_passes passes give one whose explained variances are never too large, unless so many components are
    wanted that the exact answer costs no more. reduce: adds a dict of float64 arrays over ranks
    (`ildfv.distributed.sum_arrays`).

    Learned, NumPy: components_ (c, d), each with its entry of largest size positive, mean_ (d,), explained_variance_
    (c,) with divisor n − 1, explained_variance_ratio_ (c,), singular_values_ (c,); n_samples_, n_components_. float64
    but for components_ in float32 beyond 4096 features.
    """

    _tensors = ("components_", "mean_", "explained_variance_", "explained_variance_ratio_", "singular_values_")
    _numbers = ("n_features_in_", "n_samples_", "n_components_")

    def __init__(self, n_components=None, *, whiten=False, n_passes=6, random_state=0, reduce=None):
        self.n_components = n_components
        self.whiten = whiten
        self.n_passes = n_passes
        self.random_state = random_state
        self.reduce = reduce

    def fit(self, X, y=None) -> Self:
        """Learns from X: array (n, d), in memory or on disk, or a restartable iterable of batches (m, d).

        Errors: InputError for non-finite values (naming the batch), wrong shapes, too many components.
        """
        check_integer(self.n_passes, "n_passes", 2)
        if self.n_components is not None:  # how many there may be is known when the rows are counted
            check_integer(self.n_components, "n_components")
        batches = as_batches(self, X)
        centre = self._centre(batches)  # (d,)
        d = len(centre)
        if self.reduce is None and not is_stream(X) and batches.x.shape[0] <= min(d, EXACT):
            return self._fit_gram(np.concatenate([to_numpy(batch) for batch in batches]))
        if d <= EXACT or self._basis_size(d) >= d:
            sums = CovarianceSums(d, centre=centre)
            for batch in batches:
                sums.update(batch)
            return self.fit_sums(sums.reduced(self.reduce), overwrite=True)
        return self._fit_krylov(batches, centre)

    def fit_sums(self, sums: CovarianceSums, *, overwrite: bool = False) -> Self:
        """Learns from the sums of rows, wherever they were added up; overwrite: they may be void afterwards."""
        n, mean, covariance = sums.finish(overwrite=overwrite)
        d = len(mean)
        c = self._count(n, d)
        total = float(np.trace(covariance))
        # Symmetric: its transpose is itself, in LAPACK's order, so that eigh works in place.
        values, vectors = eigh(covariance.T, subset_by_index=(d - c, d - 1), overwrite_a=True, check_finite=False)
        return self._set_learned(n, mean, values[::-1], vectors.T[::-1], total)

    def transform(self, X):
        """Scores (m, c) of the rows of X (m, d), the kind of array that X is; float32, or float64 of what is wider."""
        x, mean, components = self._ready(X)
        # Taken off in the dtype of the rows, the mean is rounded: far from zero that would move all projections.
        kind = dtype_name(x)
        left = (self.mean_.astype(kind) - self.mean_) @ self.components_.T  # (c,)
        projections = (x - mean) @ components.T + like(left, x, kind)
        return projections / like(self._scale(kind), projections, kind) if self.whiten else projections

    def inverse_transform(self, X):
        """The rows (m, d) that projections (m, c) stand for, the kind of array that X is."""
        self._check_fitted()
        projections = X if is_array(X) else np.asarray(X)
        check_real(projections, "X")
        check_shape(projections, "X", (None, len(self.components_)))
        kind = floating(projections)
        projections = namespace(projections).astype(projections, getattr(namespace(projections), kind), copy=False)
        if self.whiten:
            projections = projections * like(self._scale(kind), projections, kind)
        return projections @ like(self.components_, projections, kind) + like(self.mean_, projections, kind)

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
        """pca0, pca1, …"""
        self._check_fitted()
        return np.array([f"pca{i}" for i in range(len(self.components_))], dtype=object)

    def _ready(self, X):
        """The rows, mean and components in one dtype, on one device."""
        self._check_fitted()
        x = as_array(self, X)
        check_finite(x, "X")
        kind = floating(x)
        x = namespace(x).astype(x, getattr(namespace(x), kind), copy=False)
        return x, like(self.mean_, x, kind), like(self.components_, x, kind)

    def _scale(self, kind: str) -> np.ndarray:
        """Standard deviations of projections of this dtype; those of rounding errors alone are kept from blowing up."""
        least = ROUNDING_SHARE["float32" if self.components_.dtype == np.float32 else kind]
        first = self.explained_variance_[0]
        return np.sqrt(np.maximum(self.explained_variance_, least * first if first > 0 else 1.0))

    def _count(self, n: int, d: int) -> int:
        check(n > 1, f"PCA needs at least 2 rows, got n_samples = {n}")
        c = min(n, d) if self.n_components is None else self.n_components
        check(1 <= c <= min(n, d), f"n_components must be from 1 to min(n, d) = {min(n, d)}, got {c}")
        return int(c)

    def _centre(self, batches: Batches) -> np.ndarray:
        """The mean of the first batch of each rank: near enough to all means to lose no digits; also finds d."""
        first = batches.first()
        shape = {"ranks": np.array(float(first is not None)), "features": np.array(float(batches.n_features or 0))}
        shape = shape if self.reduce is None else self.reduce(shape)
        check(bool(shape["ranks"] > 0), "X must hold at least one batch, got none")
        sums = {"count": np.zeros(()), "sum": np.zeros(round(float(shape["features"] / shape["ranks"])))}
        if first is not None:
            sums = {"count": np.array(float(first.shape[0])), "sum": to_numpy(first).sum(axis=0, dtype=np.float64)}
        sums = sums if self.reduce is None else self.reduce(sums)
        return sums["sum"] / sums["count"]

    def _fit_gram(self, x: np.ndarray) -> Self:
        """Exact from the inner products of few rows: x xᵀ has the eigenvalues of xᵀ x."""
        n, d = x.shape
        c = self._count(n, d)
        mean = x.mean(axis=0, dtype=np.float64)
        e = x - mean  # (n, d)
        gram = e @ e.T / (n - 1)
        check(
            bool(np.isfinite(gram).all()), "rows must have squares that add up in float64, got values of 1e150 or more"
        )
        values, vectors = eigh(gram, subset_by_index=(n - c, n - 1), check_finite=False)
        values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
        # Directions of no variance (n rows span n − 1 at most) come out of QR as some that are orthogonal to the rest.
        directions = np.linalg.qr(e.T @ vectors)[0].T  # (c, d)
        return self._set_learned(n, mean, values, directions, float(np.trace(gram)))

    def _fit_krylov(self, batches: Batches, centre: np.ndarray) -> Self:
        d = len(centre)
        found: dict = {}

        def product(block: np.ndarray) -> np.ndarray:
            sums = ProductSums(block, centre=centre)
            for batch in batches:
                sums.update(batch)
            n, mean, total, image = sums.reduced(self.reduce).finish(overwrite=True)
            found.update(n=n, mean=mean, total=total)
            self._count(n, d)  # too many components are refused after one pass, not after all
            return image

        check(self.n_components is not None, f"n_components must be given for more than {EXACT} features, got None")
        size, seed = self._basis_size(d), self.random_state or 0
        values, components = leading_eigenvectors(
            product, d, self.n_components, n_passes=self.n_passes, basis_size=size, seed=seed
        )
        return self._set_learned(found["n"], found["mean"], values, components, found["total"])

    def _basis_size(self, d: int) -> int:
        """Directions in the Krylov basis: as many as help, or as memory holds, but never too few."""
        if self.n_components is None:
            return 0
        fewest = (
            int(np.ceil(max(MIN_OVERSAMPLING_RATIO, self.n_passes / (self.n_passes - 1)) * self.n_components))
            + OVERSAMPLING
        )
        return min(d, max(fewest, min(self.n_passes * (self.n_components + OVERSAMPLING), BASIS_BYTES // (4 * d))))

    def _set_learned(self, n: int, mean: np.ndarray, values: np.ndarray, components: np.ndarray, total: float) -> Self:
        largest = components[np.arange(len(components)), np.abs(components).argmax(axis=1)]
        kind = np.float64 if len(mean) <= EXACT else np.float32
        components *= np.where(largest < 0, -1, 1).astype(components.dtype)[:, None]
        self.components_ = components.astype(kind, copy=False)
        self.mean_ = mean
        self.explained_variance_ = np.maximum(values, 0.0)
        self.explained_variance_ratio_ = self.explained_variance_ / total if total > 0 else np.zeros(len(values))
        self.singular_values_ = np.sqrt(self.explained_variance_ * (n - 1))
        self.n_samples_, self.n_components_, self.n_features_in_ = n, len(values), len(mean)
        return self
