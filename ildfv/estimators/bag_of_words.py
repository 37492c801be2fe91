"""Bags of visual words: how often each word of a codebook is the nearest to a map's descriptors."""

from __future__ import annotations

import numpy as np
from sklearn.base import TransformerMixin

from ildfv.arrays import namespace
from ildfv.estimators.codebook import Codebook
from ildfv.estimators.maps import checked, joined


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

    def transform(self, X):
        """The bag of visual words of each map.

        Parameters
        ----------
        X : (b, n, d), (b, d, h, w) or a list of (n_i, d); NumPy, torch or CuPy
            Real numbers, finite.

        Returns
        -------
        array (b, k), the kind of array that X is; float64 for float64 and wide integers, otherwise float32

        Raises
        ------
        InputError
            Another shape or number of features, maps without descriptors, values that are not finite.
        """
        d = self._codebook()[0].shape[1]
        return joined([self._encoded(x) for x in checked(X, d)])

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
        """ "word_3" is the frequency of word 3."""
        return np.array([f"word_{i}" for i in range(len(self._codebook()[0]))], dtype=object)

    def _encoded(self, x):
        xp = namespace(x)
        return xp.sqrt(xp.mean(self._assigned(x)[1], axis=1))
