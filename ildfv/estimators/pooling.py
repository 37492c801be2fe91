"""Pooling of maps without a dictionary: channel means, channel maxima, or the whole map."""

from __future__ import annotations

from typing import Self

from sklearn.base import BaseEstimator, TransformerMixin

from ildfv.arrays import namespace
from ildfv.errors import check
from ildfv.estimators.maps import checked, descriptors, joined

METHODS = ("mean", "max", "flat")


class Pooling(TransformerMixin, BaseEstimator):
    """The mean or maximum of each feature over a map's descriptors, or the flattened map.

    It learns nothing; `transform` needs no fit.

    Parameters
    ----------
    method : {"mean", "max", "flat"}
        "flat" keeps all values, feature after feature: the order of a flattened (d, h, w). Every map must then have the
        same number of descriptors.
    """

    def __init__(self, method="mean"):
        self.method = method

    def fit(self, X, y=None) -> Self:
        """Checks the settings."""
        self._check_settings()
        return self

    def transform(self, X):
        """The pooled vector of each map.

        Parameters
        ----------
        X : (b, n, d), (b, d, h, w) or a list of (n_i, d); NumPy, torch or CuPy
            Real numbers, finite.

        Returns
        -------
        array (b, d), or (b, d·n) for "flat"; the kind of array that X is
            float64 for float64 and wide integers, otherwise float32.

        Raises
        ------
        InputError
            Another shape, maps without descriptors, values that are not finite; for "flat", maps of different sizes.
        """
        self._check_settings()
        maps = checked(X)
        sizes = sorted({tuple(x.shape[1:]) for x in maps})
        same = len({size[-1] for size in sizes}) == 1 if isinstance(X, (list, tuple)) else True
        check(same, "maps must all have the same number of features")
        if self.method == "flat":
            check(len(sizes) == 1, f"maps must all have the same number of descriptors to be flattened, got {sizes}")
        return joined([self._pooled(x) for x in maps])

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = False, True
        return tags

    def _pooled(self, x):
        xp = namespace(x)
        axes = (2, 3) if x.ndim == 4 else 1
        if self.method == "mean":
            return xp.mean(x, axis=axes)
        if self.method == "max":
            return xp.max(x, axis=axes)
        by_feature = x if x.ndim == 4 else xp.permute_dims(descriptors(x), (0, 2, 1))
        return xp.reshape(by_feature, (x.shape[0], -1))

    def _check_settings(self) -> None:
        check(self.method in METHODS, f"method must be one of {', '.join(METHODS)}, got {self.method!r}")
