"""Diagonal Gaussian mixture for data sets larger than memory, with scikit-learn's interface."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from ildfv.errors import check
from ildfv.estimators.base import RandomState, Reduce, as_batches, default_errstate
from ildfv.estimators.batches import Batches
from ildfv.estimators.em import MixtureSums, Parameters
from ildfv.estimators.mixture_scores import MixtureScores
from ildfv.estimators.mixture_settings import check_settings
from ildfv.estimators.split_merge import em_on_sample, subsample
from ildfv.estimators.start import sample_size, start, without_rounding
from ildfv.estimators.stepwise import Gather, stepwise_pass

# Decreases of the likelihood, nats per descriptor, that do not occur if descriptors are in random order: between two
# passes, and, per dimension, from the start on its sample (overfitted by about 0.1 nats at k = 32, d = 64) to the first
# pass.
FALL_BETWEEN_PASSES = 0.01
FALL_FROM_START = 0.05


class GaussianMixture(MixtureScores, DensityMixin, BaseEstimator):
    """Diagonal mixture of Gaussians fitted by EM in memory independent of the number of descriptors.

    Parameters
    ----------
    n_components : int
        Number of components k.
    max_iter : int
        Maximum number of passes over the data; 0 keeps the initial parameters.
    tol : float
        Passes end when the mean log likelihood rises by less than this, nats per descriptor.
    method : {"exact", "stepwise"}
        "stepwise" is meant for few passes (max_iter=3): split-and-merge EM on a sample, then an update about every
        thousand descriptors, and an exact last pass. Each step takes descriptors from all of an array in memory. The
        batches of a stream are taken in their order and should be shuffled: if they are sorted by kind, the
        likelihood decreases, which ends the stepwise passes with a warning.
    init : {"k-means", "k-means++", "faiss"}
        Initialisation on a sample of the data, unless `weights_init`, `means_init` and `variances_init` are given.
    n_init : int
        Number of k-means runs on the sample, of which the best one is used. "stepwise" refines a single run by
        split-and-merge EM instead.
    variance_floor : float
        Smallest variance, as a share of the start's overall variance of each dimension. See Notes.
    random_state : int, RandomState or None
        Seed of the sample, of the start and of `sample`.
    weights_init, means_init, variances_init : array of shape (k,), (k, d), (k, d), optional
        Initial parameters of EM; all or none must be given.
    warm_start : bool
        Whether `fit` continues from the learned parameters and the passes made, with the same result to the last bit
        as an uninterrupted fit.
    callback : callable, optional
        Called as callback(iteration, mean_log_likelihood) after each pass, with the learned attributes updated.
    reduce : callable, optional
        Sums a dict of float64 arrays over ranks (`ildfv.distributed.sum_arrays`). Every rank needs the same initial
        parameters.
    gather : callable, optional
        Returns the items of all ranks (`ildfv.distributed.gather`). "stepwise" needs it in addition to `reduce`. Each
        batch is then one step, of which a rank holds some maps or none.

    Attributes
    ----------
    weights_, means_, variances_ : ndarray of shape (k,), (k, d), (k, d), float64
    log_likelihoods_ : ndarray, one entry for each pass
        Mean log likelihood of each pass, nats per descriptor, at the parameters before the pass ("stepwise": before
        each step).
    floors_ : ndarray of shape (d,)
        Smallest variance of each dimension.
    n_iter_, n_steps_ : int
        Number of passes, and of steps of stepwise EM.
    converged_ : bool
        Whether the last two passes differ by less than `tol`.
    lower_bound_ : float
        Mean log likelihood of the last pass.

    Notes
    -----
    Activations after a ReLU are exactly 0 at about half of all locations, and a component whose descriptors are all 0
    in a dimension has no variance there. The likelihood then has no maximum and depends on the floor. On activations of
    CNN-F with random weights on generated chests, k = 16, a floor ten times lower raised the mean log likelihood by 15
    to 20 nats each time (conv1) while the share of variances at the floor stayed between 0.14 and 0.20, so that
    likelihoods at different floors are not comparable. On chests not used for fitting, conv5 (4056 descriptors of 256
    dimensions) had a mean log likelihood of 16 nats at a floor of 1e-3, −231 at 1e-4, −2,440 at 1e-5 and −17,194 at
    1e-6. The default of 1e-4 is therefore not lowered; raise it if few descriptors are available.
    """

    converged_: bool
    n_iter_: int
    n_steps_: int
    log_likelihoods_: np.ndarray

    _tensors = ("weights_", "means_", "variances_", "floors_", "log_likelihoods_")
    _numbers = ("n_features_in_", "n_iter_", "n_steps_", "converged_")

    def __init__(
        self,
        n_components: int = 32,
        *,
        max_iter: int = 100,
        tol: float = 1e-4,
        method: Literal["exact", "stepwise"] = "exact",
        init: Literal["k-means", "k-means++", "faiss"] = "k-means",
        n_init: int = 4,
        variance_floor: float = 1e-4,
        random_state: RandomState = 0,
        weights_init: ArrayLike | None = None,
        means_init: ArrayLike | None = None,
        variances_init: ArrayLike | None = None,
        warm_start: bool = False,
        callback: Callable[[int, float], None] | None = None,
        reduce: Reduce | None = None,
        gather: Gather | None = None,
    ) -> None:
        self.n_components = n_components
        self.max_iter = max_iter
        self.tol = tol
        self.method = method
        self.init = init
        self.n_init = n_init
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
    def from_parameters(cls, weights: Any, means: Any, variances: Any) -> Self:
        """Mixture of weights (k,), means (k, d) and variances (k, d); `fit` changes neither it nor its clones."""
        parameters = Parameters.checked(weights, means, variances)
        mixture = cls(
            len(parameters.weights_),
            max_iter=0,
            weights_init=parameters.weights_,
            means_init=parameters.means_,
            variances_init=parameters.variances_,
        )
        return mixture._initialise(parameters, floor=False)

    # -- fitting -------------------------------------------------------------------------------------------------

    @default_errstate
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Fit the mixture by EM.

        Parameters
        ----------
        X : array or iterable
            Array (n, d), (b, n, d) or (b, d, h, w), in memory or on disk (memmap, h5py), or an iterable of such
            batches that can be iterated repeatedly. Batches may be `ildfv.weighted.Weighted`.
        y : None
            Ignored.
        sample_weight : array of shape (n,) or (b, n), optional
            Weight of each descriptor of an array X, at least 0; a weight of 2 has the effect of a duplicate.

        Returns
        -------
        self

        Raises
        ------
        InputError
            Non-finite values (naming the batch), more components than descriptors, wrong shapes.

        Warns
        -----
        ConvergenceWarning
            EM has not converged after `max_iter` passes.
        UserWarning
            Dimensions without variance.
        """
        check_settings(self, resumes=self._resumes())
        self._start_log_likelihood = -np.inf  # known if the start is computed here
        resumes = self._resumes()
        batches = as_batches(self, X, layouts=(2, 3, 4), reset=not resumes, finite=False, sample_weight=sample_weight)
        if resumes:
            (k, d), width = self.means_.shape, batches.width()
            rule = f"n_components must be {k} to continue with warm_start"
            check(k == self.n_components, f"{rule}, got {self.n_components}")
            check(d == width, f"X must have {d} dimensions to continue with warm_start, got {width}")
        else:
            self._initialise(self._start(batches), floor=self.max_iter > 0 or self.means_init is None)
        while self.n_iter_ < self.max_iter and not self.converged_:
            if self.method == "exact" or self._stepwise_is_over():
                # Stepwise passes end with exact ones, which give all batches the same weight.
                mean = self._exact_pass(batches)
                self.converged_ = self.n_iter_ > 0 and bool(abs(mean - self.log_likelihoods_[-1]) < self.tol)
            else:
                parameters, self.n_steps_, mean = stepwise_pass(
                    self._parameters(), batches, floors=self.floors_, n_steps=self.n_steps_, gather=self.gather
                )
                self._set(parameters)
            self.n_iter_ += 1
            self.log_likelihoods_ = np.append(self.log_likelihoods_, mean)
            if self.callback is not None:
                self.callback(self.n_iter_, mean)
        if self.method == "stepwise" and self.n_steps_ > 0 and self._fell():
            warnings.warn(
                "the mean log likelihood fell during stepwise EM, as it does if batches are sorted by kind: shuffle "
                'them, or use method="exact"',
                ConvergenceWarning,
                stacklevel=3,
            )
        elif not self.converged_ and self.max_iter > 0:
            message = (
                f"EM has not converged after max_iter = {self.max_iter} passes: the mean log likelihood still rises by "
                f"more than tol = {self.tol} per pass"
            )
            warnings.warn(message, ConvergenceWarning, stacklevel=3)
        self._warn_about_constants()
        return self

    @default_errstate
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Update the mixture with descriptors of a stream that is read once: one pass of stepwise EM over them.

        The first call computes the initial parameters and the variance floors from its descriptors, which should be a
        representative sample with a few hundred per component. Later calls continue from the current parameters; step
        t has the weight (t + 2)^-0.6, so that later descriptors refine the mixture, and their order has little effect
        if they are shuffled. A call after `fit` continues from the fitted parameters.

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
        self

        Raises
        ------
        InputError
            As for `fit`; also a different number of dimensions than before, or a mixture with `reduce`.
        """
        check_settings(self, resumes=hasattr(self, "weights_"))
        check(self.reduce is None, "partial_fit must have reduce=None: its steps are not distributed")
        first = not hasattr(self, "weights_")
        batches = as_batches(self, X, layouts=(2, 3, 4), reset=first, finite=False, sample_weight=sample_weight)
        if first:
            self._initialise(self._start(batches))
        d, width = self.means_.shape[1], batches.width()
        check(d == width, f"X must have {d} dimensions like the mixture, got {width}")
        parameters, self.n_steps_, mean = stepwise_pass(
            self._parameters(), batches, floors=self.floors_, n_steps=self.n_steps_
        )
        self._set(parameters)
        self.n_iter_ += 1
        self.log_likelihoods_ = np.append(self.log_likelihoods_, mean)
        return self

    def _stepwise_is_over(self) -> bool:
        """Whether the next pass is the last one, or stepwise passes no longer raise the likelihood."""
        rises = np.diff(self.log_likelihoods_)
        return self.n_iter_ == self.max_iter - 1 or bool((rises < self.tol).any())

    def _fell(self) -> bool:
        """Whether stepwise passes lowered the likelihood: their steps differ from the data as a whole."""
        between = np.diff(self.log_likelihoods_) < -max(self.tol, FALL_BETWEEN_PASSES)
        first = self.log_likelihoods_[0] < self._start_log_likelihood - FALL_FROM_START * len(self.floors_)
        return bool(between.any() or first)

    @property
    def lower_bound_(self) -> float:
        """Mean log likelihood of the last pass at the parameters before its M step, as in scikit-learn."""
        return float(self.log_likelihoods_[-1]) if len(self.log_likelihoods_) else -np.inf

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
            return start(sample, self.n_components, init=self.init, seed=seed, n_init=self.n_init)
        parameters = start(subsample(sample, self.n_components), self.n_components, init=self.init, seed=seed)
        parameters = em_on_sample(parameters, sample, floors=self._floors(parameters), tol=self.tol)
        self._start_log_likelihood = MixtureSums(parameters).update(sample).mean_log_likelihood
        return parameters

    def _floors(self, parameters: Parameters) -> np.ndarray:
        """The smallest variance of each dimension (d,) for a fit that starts from `parameters`."""
        means, overall = parameters.overall()
        overall = without_rounding(overall, means)  # (d,)
        typical = overall[overall > 0].mean() if (overall > 0).any() else 1.0  # scale of constant dimensions
        return self.variance_floor * np.where(overall > 0, overall, typical)

    def _initialise(self, parameters: Parameters, *, floor: bool = True) -> Self:
        """Set the parameters and discard the history of earlier passes."""
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
        n = float(sums.count)
        rule = f"n_components must be at most the number of descriptors (or the sum of their weights) {n:g}"
        check(n >= self.n_components, f"{rule}, got {self.n_components}")
        self._set(sums.finish(floor=self.floors_))
        return sums.mean_log_likelihood

    def _set(self, parameters: Parameters) -> None:
        self.weights_, self.means_, self.variances_ = parameters.weights_, parameters.means_, parameters.variances_

    def _warn_about_constants(self) -> None:
        overall = self._parameters().overall()[1]
        constant = np.flatnonzero(overall <= self.floors_ * (1 + 1e-6))
        if self.max_iter > 0 and len(constant):
            relative = " (relative to the variance of means_init)" if self.means_init is not None else ""
            warnings.warn(
                f"{len(constant)} of {len(overall)} dimensions have no variance above variance_floor{relative}, "
                f"which is used instead (first dimension: {constant[0]})",
                stacklevel=4,
            )
