"""Bags of visual words: how often each word of a codebook is the nearest to a map's descriptors."""

from __future__ import annotations

from typing import Any

import numpy as np

from ildfv.arrays import namespace
from ildfv.estimators.codebook import CodebookEncoder
from ildfv.estimators.normalise import check_power, rooted, unit


class BagOfWords(CodebookEncoder):
    """Square roots of the frequencies of visual words (b, k); every vector has unit L2 norm.

    Each descriptor is assigned to its nearest centre. After the square root, Euclidean distances between vectors are
    Hellinger distances between histograms.

    Parameters
    ----------
    n_clusters : int, default=512
        Number of words, k.
    centres : array of shape (k, d), optional
        Words to use instead of learning them, in the units of the descriptors; `transform` then needs no fit.
    scale : array of shape (d,), optional
        Positive numbers by which features are divided before distances to `centres` are measured. None: 1 each.
        Ignored without `centres`.
    power : float
        Exponent of the frequencies, in (0, 1]. If it is not 0.5, the result is scaled to unit L2 norm.
    random_state : int, default=0
        Seed of the sample and of k-means.

    Attributes
    ----------
    centres_ : ndarray of shape (k, d), float64
        The words, in the units of the descriptors.
    scale_ : ndarray of shape (d,), float64
        The numbers by which features are divided to measure distances.
    n_features_in_ : int

    References
    ----------
    Csurka, Dance, Fan, Willamowski & Bray, "Visual categorization with bags of keypoints", ECCV workshop 2004.
    """

    def __init__(
        self,
        n_clusters: int = 512,
        *,
        centres: Any = None,
        scale: Any = None,
        power: float = 0.5,
        random_state: int = 0,
    ) -> None:
        super().__init__(n_clusters, centres=centres, scale=scale, random_state=random_state)
        self.power = power

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the outputs: "word_3" is the frequency of word 3.

        Parameters
        ----------
        input_features : None
            Ignored.

        Returns
        -------
        ndarray of shape (k,), object
            One name per output.
        """
        return np.array([f"word_{i}" for i in range(len(self._codebook()[0]))], dtype=object)

    def _encoded(self, x: Any, weights: Any = None) -> Any:
        xp = namespace(x)
        member = self._assigned(x)[1]  # (b, n, k)
        if weights is None:
            shares = xp.mean(member, axis=1)
        else:
            total = xp.sum(weights, axis=1)  # (b, 1)
            shares = xp.sum(member * weights, axis=1) / xp.where(total > 0, total, xp.ones_like(total))
        found = rooted(shares, check_power(self.power))
        return found if self.power == 0.5 else unit(found)  # square roots of shares have unit norm
