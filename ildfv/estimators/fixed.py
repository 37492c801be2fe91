"""Fisher vectors and projections with given parameters, as predictors and encodings use them.

The classes compute the same results as `FisherVector` and `PCA`, with the same functions. They are not scikit-learn
estimators, because importing scikit-learn takes about as long as scoring a hundred slices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from ildfv.errors import check
from ildfv.estimators.fisher_vectors import FittedMixture, fisher_vectors
from ildfv.estimators.kernel_maps import as_descriptors, with_weights
from ildfv.estimators.projected import projected, whitening


@dataclass(frozen=True)
class FixedMixture:
    """The parameters of a Gaussian mixture: weights (k,), means (k, d) and variances (k, d)."""

    weights_: np.ndarray
    means_: np.ndarray
    variances_: np.ndarray

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, np.ndarray]) -> Self:
        """The parameters of a saved `GaussianMixture`."""
        return cls(*(np.asarray(tensors[name]) for name in ("weights", "means", "variances")))


@dataclass(frozen=True)
class FixedFisher:
    """Fisher vectors of a fixed mixture. The settings and their defaults are those of `FisherVector`."""

    mixture: FittedMixture
    improved: bool = True
    order: str = "component"
    weight_part: bool = False
    threshold: float = 1e-6
    power: float = 0.5
    intra: bool = False

    def transform(self, maps, weights: np.ndarray | None = None):
        """The vectors, (b, 2·k·d) or, with weight part, (b, 2·k·d + k), equal to those of `FisherVector.transform`."""
        return fisher_vectors(with_weights(as_descriptors(maps), weights), self.mixture, self)

    def fitted_mixture(self) -> FittedMixture:
        """The mixture."""
        return self.mixture


@dataclass(frozen=True)
class FixedProjection:
    """Projections on fixed principal components (c, d) of rows minus the mean (d,).

    scale: divisors (c,) of whitened projections; None without whitening.
    """

    components_: np.ndarray
    mean_: np.ndarray
    scale: np.ndarray | None = None

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, np.ndarray], info: Mapping) -> Self:
        """The projection of a saved `PCA`, for float32 rows."""
        check(info.get("estimator") == "PCA", f"model must be a PCA, got {info.get('estimator')}")
        components = np.asarray(tensors["components"])
        variances = np.asarray(tensors["explained_variance"])
        scale = whitening(variances, components, "float32") if info["settings"]["whiten"] else None
        return cls(components, np.asarray(tensors["mean"]), scale)

    def transform(self, rows: np.ndarray) -> np.ndarray:
        """Projections (m, c) of float32 rows (m, d), equal to those of `PCA.transform`."""
        return projected(rows, self.mean_, self.components_, self.scale)
