"""Projection of rows on fitted principal components, and its inverse."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, overload

import numpy as np

from ildfv.arrays import check_finite, check_real, check_shape, floating, is_array, like, namespace
from ildfv.errors import check
from ildfv.estimators.base import AnyArray, Persistent, as_array, as_batches, default_errstate
from ildfv.estimators.batches import is_stream, on_disk
from ildfv.estimators.projected import projected, whitening


class Projection(Persistent):
    """Mixin of `PCA`: the methods that need only its fitted attributes."""

    whiten: bool
    components_: np.ndarray
    mean_: np.ndarray
    explained_variance_: np.ndarray

    @overload
    def transform(self, X: AnyArray) -> AnyArray: ...

    @overload
    def transform(self, X: Iterable[AnyArray] | Callable[[], Iterable[AnyArray]]) -> AnyArray: ...

    @overload
    def transform(self, X: Sequence[Sequence[float]]) -> np.ndarray: ...

    @default_errstate
    def transform(self, X):
        """Project rows on the components.

        Parameters
        ----------
        X : array of shape (m, d), or iterable of batches (m, d)
            Also an array on disk, as in `fit`.

        Returns
        -------
        array of shape (m, c)
            In X's array library; float32 for float32 and smaller float types, otherwise float64.

        Raises
        ------
        InputError
            Non-finite values, wrong shape or number of features.
        """
        if is_stream(X) or on_disk(X):
            self._check_fitted()
            parts = [self._project(batch) for batch in as_batches(self, X, reset=False)]
            check(len(parts) > 0, "X must contain at least one batch, got none")
            return namespace(*parts).concat(parts, axis=0)
        return self._project(X)

    def _project(self, X):
        self._check_fitted()
        x = as_array(self, X)
        check_finite(x, "X")
        kind = floating(x)
        x = namespace(x).astype(x, getattr(namespace(x), kind), copy=False)
        return projected(x, self.mean_, self.components_, self._scale(kind) if self.whiten else None)

    @default_errstate
    def inverse_transform(self, X: AnyArray) -> AnyArray:
        """Rows reconstructed from projections.

        Parameters
        ----------
        X : array of shape (m, c)
            Projections, as returned by `transform`.

        Returns
        -------
        array of shape (m, d)
            In X's array library.

        Raises
        ------
        InputError
            Wrong shape, or complex or masked values.
        """
        self._check_fitted()
        projections: Any = X if is_array(X) else np.asarray(X)
        check_real(projections, "X")
        check_shape(projections, "X", (None, len(self.components_)))
        kind = floating(projections)
        projections = namespace(projections).astype(projections, getattr(namespace(projections), kind), copy=False)
        if self.whiten:
            projections = projections * like(self._scale(kind), projections, kind)
        return projections @ like(self.components_, projections, kind) + like(self.mean_, projections, kind)

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
        """Names of the outputs: "pca0", "pca1", …

        Parameters
        ----------
        input_features : ignored
            Present for consistency with the interface of scikit-learn.

        Returns
        -------
        ndarray of shape (c,), object
            One name per component.
        """
        self._check_fitted()
        return np.array([f"pca{i}" for i in range(len(self.components_))], dtype=object)

    def _scale(self, kind: str) -> np.ndarray:
        return whitening(self.explained_variance_, self.components_, kind)
