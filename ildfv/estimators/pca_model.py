"""The fit of principal components to data sets larger than memory."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from scipy.linalg import eigh, solve_triangular

from ildfv.arrays import to_numpy
from ildfv.errors import check, check_integer
from ildfv.estimators.base import Reduce, as_batches, default_errstate
from ildfv.estimators.batches import Batches, is_stream
from ildfv.estimators.covariance import TOO_LARGE, CovarianceSums, ProductSums
from ildfv.estimators.krylov import leading_eigenvectors
from ildfv.estimators.projection import Projection

INDEPENDENT = 1e-8  # smallest eigenvalue / largest one for which eigenvectors of xᵀ x are computed from those of x xᵀ
EXACT = 4096  # features or rows up to which the eigenproblem is solved exactly; this takes 134 MB and about a minute
OVERSAMPLING = 10  # directions in each Krylov block in addition to n_components
# Six such blocks resolve slowly decaying spectra as well as scikit-learn's randomised solver. If they would take more
# than BASIS_BYTES (as with 512 components of 262,144 features), all blocks together have fewer directions, but at least
# MIN_OVERSAMPLING_RATIO per component.
BASIS_BYTES, MIN_OVERSAMPLING_RATIO = 3 << 28, 1.5


class PCAModel(Projection):
    """The fit of `PCA`, which documents parameters and attributes, without scikit-learn's base classes."""

    _estimator = "PCA"
    _tensors = ("components_", "mean_", "explained_variance_", "explained_variance_ratio_", "singular_values_")
    _numbers = ("n_features_in_", "n_samples_", "n_components_")

    def __init__(
        self,
        n_components: int | None = None,
        *,
        whiten: bool = False,
        n_passes: int = 6,
        random_state: int = 0,
        reduce: Reduce | None = None,
    ) -> None:
        self.n_components = n_components
        self.whiten = whiten
        self.n_passes = n_passes
        self.random_state = random_state
        self.reduce = reduce

    @default_errstate
    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit the components.

        Parameters
        ----------
        X : array or iterable
            Array (n, d), in memory or on disk, or an iterable of batches (m, d) that can be iterated repeatedly.
        y : None
            Ignored.

        Returns
        -------
        self

        Raises
        ------
        InputError
            An argument of the constructor is invalid; X has a wrong shape, values that are not finite (the message
            names the batch) or too large, or fewer than 2 rows; or `n_components` is None for more than 4096 features,
            unless X is an array of at most 4096 rows.
        """
        check_integer(self.n_passes, "n_passes", 2)
        if self.n_components is not None:
            check_integer(self.n_components, "n_components", 1)
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

    @default_errstate
    def fit_sums(self, sums: CovarianceSums, *, overwrite: bool = False) -> Self:
        """Fit from sums of rows; with `overwrite` the sums are invalid afterwards."""
        n, mean, covariance = sums.finish(overwrite=overwrite)
        d = len(mean)
        c = self._used_components(n, d)
        total = float(np.trace(covariance))
        # The transpose of a symmetric C-ordered array is in LAPACK's order, so that eigh works in place.
        values, vectors = eigh(covariance.T, subset_by_index=(d - c, d - 1), overwrite_a=True, check_finite=False)
        return self._set_learned(n, mean, values[::-1], vectors.T[::-1], total)

    def _used_components(self, n: int, d: int) -> int:
        check(n > 1, f"PCA needs at least 2 rows, got n_samples = {n}")
        most = min(n, d)
        if self.n_components is not None and self.n_components > most:
            message = (
                f"n_components must be at most {most} for {n} rows of {d} features, got {self.n_components}: "
                f"{most} are used"
            )
            warnings.warn(message, stacklevel=6)
        return most if self.n_components is None else min(most, int(self.n_components))

    def _centre(self, batches: Batches) -> np.ndarray:
        """Mean of the first batches of all ranks (d,): near enough to the overall mean to avoid cancellation."""
        first = batches.first()
        shape = {"ranks": np.array(float(first is not None)), "features": np.array(float(batches.n_features or 0))}
        shape = shape if self.reduce is None else self.reduce(shape)
        check(bool(shape["ranks"] > 0), "X must contain at least one batch, got none")
        sums = {"count": np.zeros(()), "sum": np.zeros(round(float(shape["features"] / shape["ranks"])))}
        if first is not None:
            sums = {"count": np.array(float(first.shape[0])), "sum": to_numpy(first).sum(axis=0, dtype=np.float64)}
        sums = sums if self.reduce is None else self.reduce(sums)
        return sums["sum"] / sums["count"]

    def _fit_gram(self, x: np.ndarray) -> Self:
        """Exact solution for few rows: x xᵀ has the nonzero eigenvalues of xᵀ x."""
        n, d = x.shape
        c = self._used_components(n, d)
        mean = x.mean(axis=0, dtype=np.float64)
        e = x - mean  # (n, d)
        gram = e @ e.T / (n - 1)
        check(bool(np.isfinite(gram).all()), TOO_LARGE)
        values, vectors = eigh(gram, subset_by_index=(n - c, n - 1), check_finite=False)
        values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
        images = vectors.T @ e  # (c, d), orthogonal up to rounding
        if values[-1] > INDEPENDENT * values[0]:
            scaled = images / np.sqrt(values * (n - 1))[:, None]
            # One step of Cholesky QR removes the rounding; it takes half the time of a Householder QR.
            directions = solve_triangular(np.linalg.cholesky(scaled @ scaled.T), scaled, lower=True, check_finite=False)
        else:
            # n centred rows span at most n − 1 directions; QR completes them with orthogonal ones of zero variance.
            directions = np.linalg.qr(images.T)[0].T
        return self._set_learned(n, mean, values, directions, float(np.trace(gram)))

    def _fit_krylov(self, batches: Batches, centre: np.ndarray) -> Self:
        d = len(centre)
        found: dict[str, Any] = {}

        def product(block: np.ndarray) -> np.ndarray:
            sums = ProductSums(block, centre=centre)
            for batch in batches:
                sums.update(batch)
            n, mean, total, image = sums.reduced(self.reduce).finish(overwrite=True)
            found.update(n=n, mean=mean, total=total)
            return image

        check(self.n_components is not None, f"n_components must be given for more than {EXACT} features, got None")
        assert self.n_components is not None
        size, seed = self._basis_size(d), self.random_state or 0
        values, components = leading_eigenvectors(
            product, d, self.n_components, n_passes=self.n_passes, basis_size=size, seed=seed
        )
        c = self._used_components(found["n"], d)
        return self._set_learned(found["n"], found["mean"], values[:c], components[:c], found["total"])

    def _basis_size(self, d: int) -> int:
        """Number of directions in the Krylov basis, limited by BASIS_BYTES."""
        if self.n_components is None:
            return 0
        ratio = max(MIN_OVERSAMPLING_RATIO, self.n_passes / (self.n_passes - 1))
        fewest = int(np.ceil(ratio * self.n_components)) + OVERSAMPLING
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
