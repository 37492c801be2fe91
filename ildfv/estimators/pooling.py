"""Pooling of maps without a codebook or mixture: the mean or maximum of each feature, or all values."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from ildfv.arrays import namespace
from ildfv.errors import check
from ildfv.estimators.images import IF_IMAGES
from ildfv.estimators.layouts import count, features
from ildfv.estimators.maps import checked_with_weights, descriptors, joined
from ildfv.weighted import Weighted

METHODS = ("mean", "max", "flat")


class Pooling(TransformerMixin, BaseEstimator):
    """The mean or maximum of each feature over a map's descriptors, or the flattened map.

    Nothing is learned, so `transform` needs no fit.

    Parameters
    ----------
    method : {"mean", "max", "flat"}
        "flat" keeps all values: those of feature 0 at all locations, then those of feature 1, and so on. Every map
        must then have the same number of descriptors.
    """

    def __init__(self, method: str = "mean") -> None:
        self.method = method

    def fit(self, X: Any, y: Any = None) -> Self:
        """Check `method`; nothing is learned.

        Parameters
        ----------
        X : array or list of arrays
            Ignored.
        y : None
            Ignored.

        Returns
        -------
        self

        Raises
        ------
        InputError
            `method` is unknown.
        """
        self._check_settings()
        return self

    def transform(self, X: Any, weights: Any = None) -> Any:
        """The pooled vector of each map.

        Parameters
        ----------
        X : array of shape (b, n, d) or (b, d, h, w), `Weighted`, or list of arrays (n_i, d) or (d, h_i, w_i)
            NumPy, torch or CuPy; real numbers. Values must be finite, except in descriptors of weight 0. Integers of 8
            or 16 bits and bool must be maps (b, d, h, w) or (d, h_i, w_i), because they may otherwise be images. Grey
            images (b, h, w) of other types are not recognised: they are read as descriptors (b, n, d).
        weights : array of shape (b, n), or list of arrays (n_i,), optional
            Weight of each descriptor in the mean, at least 0; the maximum is over descriptors of weight above 0. A map
            whose weights are all 0 gives zeros. By default the weights of a `Weighted` X, otherwise 1 each. Weights are
            not accepted with method "flat".

        Returns
        -------
        array of shape (b, d), or (b, d·n) for "flat"
            In X's array library; float32 for float32, float16, bfloat16 and uint8, otherwise float64.

        Raises
        ------
        InputError
            `method` is unknown; X is complex, masked or not finite, has a wrong shape, has maps without descriptors
            or with different numbers of features, or contains images; `weights` have a wrong shape or a negative
            value. With method "flat" also if weights are given, or if the numbers of descriptors differ between maps.
        """
        self._check_settings()
        unweighted = weights is None and not isinstance(X, Weighted)
        check(self.method != "flat" or unweighted, 'weights must be omitted with method "flat"')
        pairs = checked_with_weights(X, None, weights)
        maps = [x for x, _ in pairs]
        widths = sorted({features(x) for x in maps})
        check(len(widths) == 1, f"maps must all have the same number of features, got {widths}: {IF_IMAGES}")
        if self.method == "flat":
            sizes = sorted({count(x) // x.shape[0] for x in maps})
            check(len(sizes) == 1, f"maps must all have the same number of descriptors to be flattened, got {sizes}")
        return joined([self._pooled(x) if w is None else self._weighted(x, w) for x, w in pairs])

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = False, True
        return tags

    def _pooled(self, x: Any) -> Any:
        xp = namespace(x)
        axes = (2, 3) if x.ndim == 4 else 1
        if self.method == "mean":
            return xp.mean(x, axis=axes)
        if self.method == "max":
            return xp.max(x, axis=axes)
        by_feature = x if x.ndim == 4 else xp.permute_dims(descriptors(x), (0, 2, 1))
        return xp.reshape(by_feature, (x.shape[0], -1))

    def _weighted(self, x: Any, weights: Any) -> Any:
        xp, rows = namespace(x), descriptors(x)  # (b, n, d)
        if self.method == "mean":
            total = xp.sum(weights, axis=1)  # (b, 1)
            return xp.sum(rows * weights, axis=1) / xp.where(total > 0, total, xp.ones_like(total))
        lowest = xp.full_like(rows, -np.inf)
        largest = xp.max(xp.where(weights > 0, rows, lowest), axis=1)
        return xp.where(xp.isfinite(largest), largest, xp.zeros_like(largest))

    def _check_settings(self) -> None:
        check(self.method in METHODS, f"method must be one of {', '.join(METHODS)}, got {self.method!r}")
