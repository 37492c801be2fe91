"""VLAD: sums of differences between a map's descriptors and their nearest centres."""

from __future__ import annotations

from typing import Any

import numpy as np

from ildfv.arrays import namespace
from ildfv.estimators.codebook import CodebookEncoder
from ildfv.estimators.normalise import blocks_to_unit, check_power, rooted, unit


class VLAD(CodebookEncoder):
    """Vectors of locally aggregated descriptors (b, k·d), with signed power and unit L2 norm.

    The part of centre j is Σ ω (x − c_j) / scale over the descriptors x nearest to c_j, with weights ω (by default 1).
    Parts are in the order of the
    centres. A map whose descriptors all equal their centres gives zeros.

    Parameters
    ----------
    n_clusters : int
        Number of centres, k.
    centres : array of shape (k, d), optional
        Centres to use instead of learning them, in the units of the descriptors; `transform` then needs no fit.
    scale : array of shape (d,), optional
        Positive numbers by which differences from `centres` are divided. None: 1 each. Ignored without `centres`.
    power : float
        Exponent of the signed power, in (0, 1]; 0.5 is the signed square root.
    intra : bool
        Whether the sum of each centre is scaled to unit norm after the signed power.
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

    def __init__(
        self,
        n_clusters: int = 32,
        *,
        centres: Any = None,
        scale: Any = None,
        power: float = 0.5,
        intra: bool = False,
        random_state: int = 0,
    ) -> None:
        super().__init__(n_clusters, centres=centres, scale=scale, random_state=random_state)
        self.power = power
        self.intra = intra

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
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

    def _encoded(self, x: Any, weights: Any = None) -> Any:
        xp = namespace(x)
        scaled, member, points = self._assigned(x)
        member = member if weights is None else member * weights
        shares = xp.sum(member, axis=1)[..., None]  # (b, k, 1) descriptors of each centre
        sums = xp.permute_dims(member, (0, 2, 1)) @ scaled - shares * points  # (b, k, d)
        parts = [rooted(sums, check_power(self.power))]
        return unit(xp.reshape((blocks_to_unit(parts) if self.intra else parts)[0], (sums.shape[0], -1)))
