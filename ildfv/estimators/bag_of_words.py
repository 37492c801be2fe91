"""Bags of visual words: how often each word of a codebook is the nearest to a map's descriptors."""

from __future__ import annotations

import numpy as np
from sklearn.base import TransformerMixin

from ildfv.arrays import namespace
from ildfv.estimators.codebook import Codebook
from ildfv.estimators.maps import checked_with_weights, joined


class BagOfWords(TransformerMixin, Codebook):
    """Square roots of the frequencies of visual words; every vector has unit L2 norm.

    Each descriptor counts for its nearest centre. The square root compares histograms by the Hellinger distance.

    Parameters
    ----------
    n_clusters : int
        Number of words, k.
    centres, scale, random_state
        As in `Codebook`. With `centres`, `transform` needs no fit.

    Attributes
    ----------
    centres_ : array (k, d), float64
        The words, in the units of the descriptors.
    scale_ : array (d,), float64
        The numbers by which features are divided to measure distances.

    Source: Csurka, Dance, Fan, Willamowski & Bray, "Visual categorization with bags of keypoints", ECCV workshop 2004.
    """

    def __init__(self, n_clusters=512, *, centres=None, scale=None, random_state=0):
        super().__init__(n_clusters, centres=centres, scale=scale, random_state=random_state)

    def transform(self, X, weights=None):
        """The bag of visual words of each map.

        Parameters
        ----------
        X : (b, n, d), (b, d, h, w) or a list of (n_i, d); NumPy, torch or CuPy
            Real numbers, finite.
        weights : (b, n) or a list of (n_i,), optional
            How much each descriptor counts, at least 0. A map in which none counts gives zeros.

        Returns
        -------
        array (b, k), the kind of array that X is; float64 for float64 and wide integers, otherwise float32

        Raises
        ------
        InputError
            Another shape or number of features, maps without descriptors, values that are not finite.
        """
        d = self._codebook()[0].shape[1]
        return joined([self._encoded(*pair) for pair in checked_with_weights(X, d, weights)])

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
        """ "word_3" is the frequency of word 3."""
        return np.array([f"word_{i}" for i in range(len(self._codebook()[0]))], dtype=object)

    def _encoded(self, x, weights=None):
        xp = namespace(x)
        member = self._assigned(x)[1]  # (b, n, k)
        if weights is None:
            return xp.sqrt(xp.mean(member, axis=1))
        total = xp.sum(weights, axis=1)  # (b, 1)
        counted = xp.where(total > 0, total, xp.ones_like(total))
        return xp.sqrt(xp.sum(member * weights, axis=1) / counted)
