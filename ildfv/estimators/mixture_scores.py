"""Likelihoods, posteriors, information criteria and samples of a fitted mixture."""

from __future__ import annotations

import numpy as np

from ildfv.arrays import namespace
from ildfv.errors import InputError, check_integer
from ildfv.estimators.base import AnyArray, Persistent, Reduce, as_array, as_batches, default_errstate, random_generator
from ildfv.estimators.batches import Batches
from ildfv.estimators.em import MixtureSums, Parameters
from ildfv.estimators.likelihood import likelihoods_and_posteriors


class MixtureScores(Persistent):
    """Mixin of `GaussianMixture`: the methods that need only its parameters."""

    weights_: np.ndarray
    means_: np.ndarray
    variances_: np.ndarray
    log_likelihoods_: np.ndarray
    random_state: int | np.random.RandomState | None
    reduce: Reduce | None

    @property
    def lower_bound_(self) -> float:
        """Mean log likelihood of the last pass at the parameters before its M step, as in scikit-learn."""
        return float(self.log_likelihoods_[-1]) if len(self.log_likelihoods_) else -np.inf

    def _parameters(self) -> Parameters:
        return Parameters(self.weights_, self.means_, self.variances_)

    @default_errstate
    def score_samples(self, X: AnyArray) -> AnyArray:
        """Log likelihood of each descriptor.

        Parameters
        ----------
        X : array of shape (n, d)
            Descriptors.

        Returns
        -------
        array of shape (n,), float64
            In nats, in X's array library.
        """
        return self._likelihoods_and_posteriors(X)[0]

    @default_errstate
    def predict_proba(self, X: AnyArray) -> AnyArray:
        """Posterior of each component for each descriptor.

        Parameters
        ----------
        X : array of shape (n, d)
            Descriptors.

        Returns
        -------
        array of shape (n, k), float64
            In X's array library.
        """
        return self._likelihoods_and_posteriors(X)[1]

    @default_errstate
    def predict(self, X: AnyArray) -> AnyArray:
        """The most probable component of each descriptor.

        Parameters
        ----------
        X : array of shape (n, d)
            Descriptors.

        Returns
        -------
        array of shape (n,), int
            In X's array library.
        """
        posteriors = self._likelihoods_and_posteriors(X)[1]
        return namespace(posteriors).argmax(posteriors, axis=1)

    @default_errstate
    def score(self, X, y=None, sample_weight=None) -> float:
        """Mean log likelihood, nats per descriptor.

        Parameters
        ----------
        X : array or iterable
            As in `fit`.
        y : None
            Ignored.
        sample_weight : array of shape (n,) or (b, n), optional
            As in `fit`.

        Returns
        -------
        float
        """
        return self._sums(X, sample_weight).mean_log_likelihood

    @default_errstate
    def bic(self, X) -> float:
        """Bayesian information criterion; lower is better.

        Parameters
        ----------
        X : array or iterable
            As in `fit`.

        Returns
        -------
        float
        """
        sums = self._sums(X)
        return float(self._n_parameters() * np.log(sums.count) - 2 * sums.log_likelihood)

    @default_errstate
    def aic(self, X) -> float:
        """Akaike information criterion; lower is better.

        Parameters
        ----------
        X : array or iterable
            As in `fit`.

        Returns
        -------
        float
        """
        sums = self._sums(X)  # raises if the mixture is not fitted
        return float(2 * self._n_parameters() - 2 * sums.log_likelihood)

    def sample(self, n_samples: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Descriptors drawn from the mixture, and their components.

        Parameters
        ----------
        n_samples : int
            Number of descriptors to draw.

        Returns
        -------
        X : ndarray of shape (n_samples, d), float64
        labels : ndarray of shape (n_samples,), int
        """
        self._check_fitted()
        n_samples = check_integer(n_samples, "n_samples", 1)
        random = random_generator(self.random_state)
        shares = self.weights_ / self.weights_.sum()  # because of rounding, the stored weights may not sum to 1 exactly
        labels = np.repeat(np.arange(len(shares)), random.multinomial(n_samples, shares))
        noise = random.standard_normal((n_samples, self.means_.shape[1]))
        return self.means_[labels] + np.sqrt(self.variances_[labels]) * noise, labels

    def _n_parameters(self) -> int:
        k, d = self.means_.shape
        return 2 * k * d + k - 1

    def _sums(self, X, sample_weight=None) -> MixtureSums:
        """The sums over all descriptors of X at the learned parameters."""
        self._check_fitted()
        options = {"layouts": (2, 3, 4), "reset": False, "finite": False, "sample_weight": sample_weight}
        return self._summed(as_batches(self, X, **options))

    def _summed(self, batches: Batches) -> MixtureSums:
        sums = MixtureSums(self)
        for name, batch in batches.joined():
            sums.update(batch, name=name)
        sums.reduced(self.reduce)
        if float(sums.count) == 0:
            batches.width()  # raises if there is no batch
            raise InputError(f"{batches.name} must contain a descriptor of positive weight, got none: omit this call")
        return sums

    def _likelihoods_and_posteriors(self, X) -> tuple:
        self._check_fitted()
        return likelihoods_and_posteriors(Batches(as_array(self, X), layouts=(2,), name="X"), self)
