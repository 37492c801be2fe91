"""VLAD: sums of differences between a map's descriptors and their nearest centres."""

from __future__ import annotations

import numpy as np
from sklearn.base import TransformerMixin

from ildfv.arrays import namespace
from ildfv.estimators.codebook import Codebook
from ildfv.estimators.maps import checked_with_weights, joined
from ildfv.kernels.reference import MIN_NORM


class VLAD(TransformerMixin, Codebook):
    """Vectors of locally aggregated descriptors, with signed square root and unit L2 norm.

    Parameters
    ----------
    n_clusters : int
        Number of centres, k.
    centres : array of shape (k, d), optional
        Centres to use instead of learning them, in the units of the descriptors; `transform` then needs no fit.
    scale : array of shape (d,), optional
        With `centres`, the positive numbers by which differences are divided; 1 if None.
    random_state : int
        Seed of the sample and of k-means.

    Attributes
    ----------
    centres_ : ndarray of shape (k, d), float64
        The centres, in the units of the descriptors.
    scale_ : ndarray of shape (d,), float64
        The numbers by which differences are divided.
    n_features_in_ : int

    References
    ----------
    Jégou, Douze, Schmid & Pérez, "Aggregating local descriptors into a compact image representation", CVPR 2010. The
    signed square root is from Jégou & Chum, ECCV 2012.
    """

    def transform(self, X, weights=None):
        """The VLAD vector of each map: for centre k, Σ (x − c_k) / scale over the descriptors nearest to it.

        Parameters
        ----------
        X : array of shape (b, n, d) or (b, d, h, w), or list of arrays (n_i, d)
            NumPy, torch or CuPy; finite real numbers.
        weights : array of shape (b, n), or list of arrays (n_i,), optional
            Weight of each descriptor, at least 0. A map whose weights are all 0 gives zeros.

        Returns
        -------
        array of shape (b, k·d)
            The sums of the centres in their order, in X's array library; float64 for float64 and wide integers,
            otherwise float32. A map whose descriptors all equal their centres gives zeros.

        Raises
        ------
        InputError
            Wrong shape or number of features, maps without descriptors, non-finite values.
        """
        d = self._codebook()[0].shape[1]
        return joined([self._encoded(*pair) for pair in checked_with_weights(X, d, weights)])

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
        """Names of the outputs: "vlad_3_17" is dimension 17 of the sum of centre 3.

        Parameters
        ----------
        input_features : None
            Ignored.

        Returns
        -------
        ndarray of shape (k·d,), object
            One name per output.
        """
        k, d = self._codebook()[0].shape
        return np.array([f"vlad_{i}_{j}" for i in range(k) for j in range(d)], dtype=object)

    def _encoded(self, x, weights=None):
        xp = namespace(x)
        scaled, member, points = self._assigned(x)
        member = member if weights is None else member * weights
        shares = xp.sum(member, axis=1)[..., None]  # (b, k, 1) descriptors of each centre
        sums = xp.permute_dims(member, (0, 2, 1)) @ scaled - shares * points  # (b, k, d)
        rooted = xp.reshape(xp.sign(sums) * xp.sqrt(xp.abs(sums)), (sums.shape[0], -1))
        norms = xp.linalg.vector_norm(rooted, axis=1, keepdims=True)  # (b, 1)
        return rooted / xp.maximum(norms, xp.full_like(norms, MIN_NORM))
