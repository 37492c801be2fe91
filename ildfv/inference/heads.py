"""Heads of a predictor: scores of prepared slices, and the exact contribution of every location to a score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ildfv.arrays import to_numpy
from ildfv.estimators.fisher import FisherVector
from ildfv.estimators.mixture import GaussianMixture
from ildfv.estimators.pca import PCA
from ildfv.estimators.regression import MultivariateRegression
from ildfv.evaluation.thresholds import Decisions, Sigmoid
from ildfv.inference.contributions import contributions
from ildfv.inference.schema import Head


def decisions_of(head: Head) -> Decisions:
    """The thresholds and sigmoids of a head."""
    sigmoids = tuple(None if s is None else Sigmoid(s.slope, s.intercept) for s in head.sigmoids)
    return Decisions(tuple(head.thresholds), sigmoids)


@dataclass(frozen=True)
class FisherHead:
    """A regression on the PCA projections of Fisher vectors of one layer.

    fisher: mixture and normalisation. coefficients (C, 2·k·d) and offset (C,): the score as a linear functional of the
    Fisher vector, PCA and regression combined.
    """

    info: Head
    fisher: FisherVector
    pca: PCA
    regression: MultivariateRegression

    @classmethod
    def restored(cls, info: Head, tensors: dict[str, dict[str, np.ndarray]]) -> FisherHead:
        """The head of these tensors, by estimator."""
        mixture = GaussianMixture.from_tensors(tensors["mixture"], info.estimators["mixture"])
        return cls(
            info,
            FisherVector(mixture, improved=info.improved),
            PCA.from_tensors(tensors["pca"], info.estimators["pca"]),
            MultivariateRegression.from_tensors(tensors["regression"], info.estimators["regression"]),
        )

    @property
    def coefficients(self) -> np.ndarray:
        """g with score = offset + g·f for a Fisher vector f, float64 (C, 2·k·d)."""
        return np.asarray(self.regression.coef_, np.float64) @ np.asarray(self.pca.components_, np.float64)

    @property
    def offset(self) -> np.ndarray:
        """The score of a zero Fisher vector, float64 (C,)."""
        return np.asarray(self.regression.intercept_) - self.coefficients @ np.asarray(self.pca.mean_, np.float64)

    def scores(self, maps, weights: np.ndarray | None = None) -> np.ndarray:
        """Scores of slices with activation maps (b, d, h, w), float64 (b, C), computed as `ildfv regress` does."""
        vectors = to_numpy(self.fisher.transform(maps, weights=weights)).astype(np.float32)
        projections = self.pca.transform(vectors).astype(np.float32)
        return np.asarray(self.regression.predict(projections), dtype=np.float64)

    def contributions(self, maps, weights: np.ndarray | None = None) -> np.ndarray:
        """Contribution of every location to every score, float64 (b, n, C); their sum is score − offset."""
        return contributions(self.fisher, self.coefficients, maps, weights)
