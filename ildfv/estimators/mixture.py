"""Diagonal Gaussian mixtures over more descriptors than memory holds, in scikit-learn's manner."""

from __future__ import annotations

import warnings
from typing import Self

import numpy as np
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from ildfv.arrays import namespace
from ildfv.errors import check, check_integer, check_number
from ildfv.estimators.base import Persistent, as_array, as_batches
from ildfv.estimators.batches import Batches
from ildfv.estimators.em import MixtureSums, Parameters
from ildfv.estimators.likelihood import likelihoods_and_posteriors
from ildfv.estimators.split_merge import em_on_sample, subsample
from ildfv.estimators.start import sample_size, start, without_rounding
from ildfv.estimators.stepwise import stepwise_pass

INITS = ("k-means", "k-means++", "faiss")


class GaussianMixture(Persistent, DensityMixin, BaseEstimator):
    """Diagonal mixture of Gaussians learned by EM in memory that does not grow with the number of descriptors.

    n_components: k. max_iter: passes over the data at most (0 keeps the start). tol: passes end when the mean log
    likelihood (nats a descriptor) rises by less. method: "exact" EM, or "stepwise", for few passes (max_iter=3):
    split-and-merge EM on a sample, then parameters move after every thousand descriptors or so (batches sorted by kind
    had better be shuffled), and the last pass is an exact one. init: "k-means", "k-means++" or "faiss", on a sample of
    the data, unless weights_init (k,), means_init (k, d) and variances_init (k, d) say where to start. variance_floor:
    smallest variance, as a share of the start's overall variance of each dimension. warm_start: fit goes on from the
    learned values, the passes made included, to the bits of an uninterrupted fit. callback(iteration,
    mean_log_likelihood): called after each pass, when the learned values are those after it. reduce: adds a dict of
    float64 arrays over ranks (`ildfv.distributed.sum_arrays`); every rank must then be given the same start. gather:
    gives the items of all ranks (`ildfv.distributed.gather`), which "stepwise" needs beside it: each batch is then a
    step, of which every rank is given some maps, or a batch of none.

    Learned, NumPy float64: weights_ (k,), means_ (k, d), variances_ (k, d), log_likelihoods_ (one a pass: the mean at
    the parameters that the pass began with; "stepwise": on the way), floors_ (d,). Also n_iter_, converged_,
    lower_bound_.
    """

    converged_: bool
    n_iter_: int
    n_steps_: int
    log_likelihoods_: np.ndarray

    _tensors = ("weights_", "means_", "variances_", "floors_", "log_likelihoods_")
    _numbers = ("n_features_in_", "n_iter_", "n_steps_", "converged_")

    def __init__(
        self,
        n_components=32,
        *,
        max_iter=100,
        tol=1e-4,
        method="exact",
        init="k-means",
        variance_floor=1e-4,
        random_state=0,
        weights_init=None,
        means_init=None,
        variances_init=None,
        warm_start=False,
        callback=None,
        reduce=None,
        gather=None,
    ):
        self.n_components = n_components
        self.max_iter = max_iter
        self.tol = tol
        self.method = method
        self.init = init
        self.variance_floor = variance_floor
        self.random_state = random_state
        self.weights_init = weights_init
        self.means_init = means_init
        self.variances_init = variances_init
        self.warm_start = warm_start
        self.callback = callback
        self.reduce = reduce
        self.gather = gather

    @classmethod
    def from_parameters(cls, weights, means, variances) -> Self:
        """Mixture of these weights (k,), means (k, d), variances (k, d); fit changes nothing, in it or its clone."""
        parameters = Parameters.checked(weights, means, variances)
        mixture = cls(
            len(parameters.weights_),
            max_iter=0,
            weights_init=parameters.weights_,
            means_init=parameters.means_,
            variances_init=parameters.variances_,
        )
        return mixture._initialise(parameters, floor=False)

    # -- learning ------------------------------------------------------------------------------------------------

    def fit(self, X, y=None) -> Self:
        """The mixture of most likelihood that EM finds from its start.

        X: array (n, d), (b, n, d) or (b, d, h, w), in memory or on disk (memmap, h5py), or a restartable iterable of
        such batches. Errors: InputError for non-finite values (naming the batch), k > n, wrong shapes. Warns about
        dimensions without variance and when max_iter ends EM.
        """
        self._check_settings()
        resumes = self._resumes()
        batches = as_batches(self, X, layouts=(2, 3, 4), reset=not resumes, finite=False)
        if resumes:
            k, d, width = *self.means_.shape, batches.width()
            check(k == self.n_components, f"n_components must stay {k} as warm_start goes on, got {self.n_components}")
            check(d == width, f"X must have {d} dimensions as warm_start goes on, got {width}")
        else:
            self._initialise(self._start(batches), floor=self.max_iter > 0 or self.means_init is None)
        while self.n_iter_ < self.max_iter and not self.converged_:
            rises = np.diff(self.log_likelihoods_)
            settled = len(rises) > 0 and abs(rises[-1]) < self.tol
            if self.method == "exact":
                mean = self._exact_pass(batches)
                self.converged_ = self.n_iter_ > 0 and bool(abs(mean - self.log_likelihoods_[-1]) < self.tol)
            elif settled or self.n_iter_ == self.max_iter - 1:
                # The last batches must not weigh more than the first: one exact step ends the stepwise ones.
                mean = self._exact_pass(batches)
                self.converged_ = True
            else:
                parameters, self.n_steps_, mean = stepwise_pass(
                    self._parameters(), batches, floors=self.floors_, n_steps=self.n_steps_, gather=self.gather
                )
                self._set(parameters)
            self.n_iter_ += 1
            self.log_likelihoods_ = np.append(self.log_likelihoods_, mean)
            if self.callback is not None:
                self.callback(self.n_iter_, mean)
        if not self.converged_ and self.max_iter > 0:
            message = f"EM made max_iter = {self.max_iter} passes and still rose by more than tol = {self.tol} a pass"
            warnings.warn(message, ConvergenceWarning, stacklevel=2)
        self._warn_about_constants()
        return self

    @property
    def lower_bound_(self) -> float:
        """Mean log likelihood of the last pass, as scikit-learn's: at the parameters before its M step."""
        return float(self.log_likelihoods_[-1]) if len(self.log_likelihoods_) else -np.inf

    def _check_settings(self) -> None:
        check_integer(self.n_components, "n_components", 1)
        check_integer(self.max_iter, "max_iter", 0)
        check_number(self.tol, "tol", "at least 0", lambda tol: tol >= 0, infinite=True)
        check_number(self.variance_floor, "variance_floor", "above 0", lambda floor: floor > 0)
        check(self.method in ("exact", "stepwise"), f'method must be "exact" or "stepwise", got {self.method!r}')
        check(self.init in INITS, f'init must be "k-means", "k-means++" or "faiss", got {self.init!r}')
        given = [value is not None for value in (self.weights_init, self.means_init, self.variances_init)]
        check(all(given) or not any(given), "weights_init, means_init and variances_init must be given together")
        if self.reduce is not None:
            check(
                all(given) or self._resumes(),
                "reduce needs weights_init, means_init and variances_init, the same on every rank",
            )
            stepwise = self.method == "stepwise"
            check(not stepwise or self.gather is not None, 'reduce needs gather beside it where method="stepwise"')

    def _resumes(self) -> bool:
        return self.warm_start and hasattr(self, "weights_")

    def _start(self, batches: Batches) -> Parameters:
        if self.means_init is not None:
            parameters = Parameters.checked(self.weights_init, self.means_init, self.variances_init)
            k = len(parameters.weights_)
            check(k == self.n_components, f"means_init must have {self.n_components} components, got {k}")
            return parameters
        seed = int(check_random_state(self.random_state).randint(2**31))
        sample = batches.sample(sample_size(self.n_components, batches.width()), seed)
        if self.method == "exact":
            return start(sample, self.n_components, init=self.init, seed=seed)
        parameters = start(subsample(sample, self.n_components), self.n_components, init=self.init, seed=seed)
        return em_on_sample(parameters, sample, floors=self._floors(parameters), tol=self.tol)

    def _floors(self, parameters: Parameters) -> np.ndarray:
        """The smallest variances, (d,), of a fit that begins with `at`."""
        means, overall = parameters.overall()
        overall = without_rounding(overall, means)  # (d,)
        typical = overall[overall > 0].mean() if (overall > 0).any() else 1.0  # lends constant dimensions a scale
        return self.variance_floor * np.where(overall > 0, overall, typical)

    def _initialise(self, parameters: Parameters, *, floor: bool = True) -> Self:
        """Takes `at` for its parameters and forgets all passes."""
        self.floors_ = self._floors(parameters)
        self._set(
            Parameters(parameters.weights_, parameters.means_, np.maximum(parameters.variances_, self.floors_))
            if floor
            else parameters
        )
        self.n_features_in_ = parameters.means_.shape[1]
        self.n_iter_ = self.n_steps_ = 0
        self.converged_ = False
        self.log_likelihoods_ = np.empty(0)
        return self

    def _exact_pass(self, batches: Batches) -> float:
        sums = self._summed(batches)
        n = int(sums.count)
        rule = f"n_components must be at most the number of descriptors {n}"
        check(n >= self.n_components, f"{rule}, got {self.n_components}")
        self._set(sums.finish(floor=self.floors_))
        return sums.mean_log_likelihood

    def _parameters(self) -> Parameters:
        return Parameters(self.weights_, self.means_, self.variances_)

    def _set(self, parameters: Parameters) -> None:
        self.weights_, self.means_, self.variances_ = parameters.weights_, parameters.means_, parameters.variances_

    def _warn_about_constants(self) -> None:
        overall = self._parameters().overall()[1]
        constant = np.flatnonzero(overall <= self.floors_ * (1 + 1e-6))
        if self.max_iter > 0 and len(constant):
            message = f"{len(constant)} of {len(overall)} dimensions have zero variance, or none above the floor"
            given = ", a share of the variance that means_init has" if self.means_init is not None else ""
            warnings.warn(
                f"{message} (the first: {constant[0]}); variance_floor{given}, stands in for it", stacklevel=3
            )

    # -- using ---------------------------------------------------------------------------------------------------

    def score_samples(self, X):
        """Log likelihood of each descriptor, nats, (n,) float64."""
        return self._likelihoods_and_posteriors(X)[0]

    def predict_proba(self, X):
        """Posterior of each component for each descriptor, (n, k) float64."""
        return self._likelihoods_and_posteriors(X)[1]

    def predict(self, X):
        """The most probable component of each descriptor, (n,)."""
        posteriors = self._likelihoods_and_posteriors(X)[1]
        return namespace(posteriors).argmax(posteriors, axis=1)

    def score(self, X, y=None) -> float:
        """Mean log likelihood a descriptor, nats. X as in fit."""
        return self._sums(X).mean_log_likelihood

    def bic(self, X) -> float:
        """Bayesian information criterion, lower is better. X as in fit."""
        sums = self._sums(X)
        return float(self._n_parameters() * np.log(sums.count) - 2 * sums.log_likelihood)

    def aic(self, X) -> float:
        """Akaike information criterion, lower is better. X as in fit."""
        return float(2 * self._n_parameters() - 2 * self._sums(X).log_likelihood)

    def sample(self, n_samples: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Descriptors drawn from the mixture, (n, d) float64, and their components, (n,)."""
        self._check_fitted()
        n_samples = check_integer(n_samples, "n_samples", 1)
        random = check_random_state(self.random_state)
        shares = self.weights_ / self.weights_.sum()  # which may be off 1 by rounding
        labels = np.repeat(np.arange(len(shares)), random.multinomial(n_samples, shares))
        noise = random.standard_normal((n_samples, self.means_.shape[1]))
        return self.means_[labels] + np.sqrt(self.variances_[labels]) * noise, labels

    def _n_parameters(self) -> int:
        k, d = self.means_.shape
        return 2 * k * d + k - 1

    def _sums(self, X) -> MixtureSums:
        """The sums of all descriptors of X at the learned parameters."""
        self._check_fitted()
        return self._summed(as_batches(self, X, layouts=(2, 3, 4), reset=False, finite=False))

    def _summed(self, batches: Batches) -> MixtureSums:
        sums = MixtureSums(self)
        for name, batch in batches.named():
            sums.update(batch, name=name)
        sums.reduced(self.reduce)
        check(float(sums.count) > 0, f"{batches.name} must hold at least one batch, got none")
        return sums

    def _likelihoods_and_posteriors(self, X) -> tuple:
        self._check_fitted()
        return likelihoods_and_posteriors(Batches(as_array(self, X), layouts=(2,), name="X"), self)
