"""k-means centres of descriptors, assignment to the nearest centre, and the base class of encoders that use both."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import NotFittedError

from ildfv.arrays import check_finite, check_shape, dtype_name, like, namespace
from ildfv.errors import check, check_integer
from ildfv.estimators.base import Persistent, as_batches
from ildfv.estimators.distinct import distinct
from ildfv.estimators.images import check_not_images
from ildfv.estimators.kernel_maps import as_descriptors
from ildfv.estimators.maps import checked_with_weights, descriptors, joined
from ildfv.estimators.start import mean_and_variance, sample_size, start
from ildfv.weighted import split


class Codebook(Persistent, BaseEstimator):
    """Cluster centres of descriptors, learned by k-means on a sample.

    Distances are measured after each feature is divided by its standard deviation in the sample, so that they do not
    depend on units; with given `centres`, each feature is divided by `scale`.

    Parameters
    ----------
    n_clusters : int
        Number of centres, k.
    centres : array of shape (k, d), optional
        Centres to use instead of learning them, in the units of the descriptors; `fit` then only checks them.
    scale : array of shape (d,), optional
        Positive numbers by which features are divided before distances to `centres` are measured. None: 1 each.
        Ignored without `centres`.
    random_state : int
        Seed of the sample and of k-means.

    Attributes
    ----------
    centres_ : ndarray of shape (k, d), float64
    scale_ : ndarray of shape (d,), float64
    n_features_in_ : int
    """

    _tensors = ("centres_", "scale_")

    def __init__(self, n_clusters: int = 32, *, centres: Any = None, scale: Any = None, random_state: int = 0) -> None:
        self.n_clusters = n_clusters
        self.centres = centres
        self.scale = scale
        self.random_state = random_state

    def fit(self, X, y=None, sample_weight=None) -> Self:
        """Learn the centres, unless they were given.

        Parameters
        ----------
        X : array of shape (m, d), (b, n, d) or (b, d, h, w), list of maps, or restartable iterable of such arrays
            Descriptors or maps; finite real numbers. k-means runs on a sample of at most 32,768 descriptors, or
            10 per centre if that is more. Ignored if `centres` are given. Three-dimensional arrays in a list are maps
            (d, h, w), and images are refused, as in `transform`.
        y : None
            Ignored.
        sample_weight : array of shape (m,) or (b, n), optional
            Weight of each descriptor of an array X. k-means uses the weights if all descriptors are in its sample;
            otherwise descriptors are sampled in proportion to them.

        Returns
        -------
        self

        Raises
        ------
        InputError
            An argument of the constructor is invalid; X has fewer descriptors than centres, a wrong shape, values that
            are not finite, or images; or `sample_weight` is invalid.
        """
        if self.centres is not None:
            self.centres_, self.scale_ = self._given_codebook()
        else:
            check_integer(self.n_clusters, "n_clusters", 1)
            check_not_images(X, "X")
            if isinstance(X, (list, tuple)):
                X = as_descriptors(X)
            batches = as_batches(self, X, layouts=(2, 3, 4), sample_weight=sample_weight, relative=True)
            size = sample_size(self.n_clusters, batches.width())
            rows, row_weights, complete = batches.drawn(size, self.random_state)
            rule = f"n_clusters must be at most {len(rows)}, the number of descriptors"
            check(self.n_clusters <= len(rows), f"{rule}, got {self.n_clusters}")
            sample = distinct(rows, row_weights) if complete else rows
            spread = np.sqrt(mean_and_variance(*split(sample))[1])  # (d,)
            self.scale_ = np.where(spread > 0, spread, 1.0)
            self.centres_ = start(sample, self.n_clusters, init="k-means", seed=self.random_state).means_
        self.n_features_in_ = self.centres_.shape[1]
        return self

    def _codebook(self) -> tuple[np.ndarray, np.ndarray]:
        """Centres (k, d) and scale (d,), learned or given."""
        if hasattr(self, "centres_"):
            return self.centres_, self.scale_
        if self.centres is None:
            raise NotFittedError(f"This {type(self).__name__} is not fitted yet: call fit first, or pass centres")
        return self._given_codebook()

    def _given_codebook(self) -> tuple[np.ndarray, np.ndarray]:
        """The centres and the scale that were passed to the constructor, checked."""
        centres = np.asarray(self.centres, dtype=np.float64)
        check_shape(centres, "centres", (None, None))
        check(centres.size > 0, f"centres must contain at least one centre and one feature, got shape {centres.shape}")
        check_finite(centres, "centres")
        scale = np.ones(centres.shape[1]) if self.scale is None else np.asarray(self.scale, dtype=np.float64)
        check_shape(scale, "scale", (centres.shape[1],))
        positive = bool((np.isfinite(scale) & (scale > 0)).all())
        check(positive, f"scale must be positive and finite, got a minimum of {scale.min()}")
        return centres, scale

    def _assigned(self, x) -> tuple:
        """Scaled descriptors (b, n, d) of checked maps, memberships (b, n, k) of 0 and 1, scaled centres (k, d)."""
        xp, dtype = namespace(x), dtype_name(x)
        centres, scale = self._codebook()
        points = like(centres / scale, x, dtype)  # (k, d)
        scaled = descriptors(x) / like(scale, x, dtype)  # (b, n, d)
        # |x − c|² = |x|² − 2 (x·c − |c|²/2), so the nearest centre has the largest x·c − |c|²/2
        closeness = scaled @ points.T - 0.5 * xp.sum(points * points, axis=1)  # (b, n, k)
        nearest = xp.argmax(closeness, axis=2)  # (b, n); the first of several nearest centres
        numbers = like(np.arange(len(centres)), x)
        return scaled, xp.astype(nearest[..., None] == numbers, x.dtype), points

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "centres_") or self.centres is not None

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = False, True  # a single row is not a map
        return tags


class CodebookEncoder(TransformerMixin, Codebook):
    """Base class of encoders that assign each descriptor of a map to its nearest centre."""

    def transform(self, X, weights=None):
        """The vector of each map.

        Parameters
        ----------
        X : array of shape (b, n, d) or (b, d, h, w), `Weighted`, or list of arrays (n_i, d) or (d, h_i, w_i)
            NumPy, torch or CuPy; real numbers. Values must be finite, except in descriptors of weight 0. Integers of 8
            or 16 bits and bool must be maps (b, d, h, w) or (d, h_i, w_i), because they may otherwise be images. Grey
            images (b, h, w) of other types are not recognised: they are read as descriptors (b, n, d).
        weights : array of shape (b, n), or list of arrays (n_i,), optional
            Weight of each descriptor, at least 0. A map whose weights are all 0 gives zeros. By default the weights of
            a `Weighted` X, otherwise 1 each.

        Returns
        -------
        array of shape (b, m)
            In X's array library; float32 for float32, float16, bfloat16 and uint8, otherwise float64.

        Raises
        ------
        InputError
            An argument of the constructor is invalid; X is complex, masked or not finite, has a wrong shape or number
            of features, has maps without descriptors, or contains images; or `weights` are invalid.
        NotFittedError
            `fit` was not called, and no `centres` were given.
        """
        d = self._codebook()[0].shape[1]
        return joined([self._encoded(*pair) for pair in checked_with_weights(X, d, weights)])

    @abstractmethod
    def _encoded(self, x, weights=None):
        """Vectors (b, m) of checked maps; weights: (b, n, 1) or None."""
