"""The fit of a diagonal Gaussian mixture to data sets larger than memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike

from ildfv.errors import check
from ildfv.estimators.base import RandomState, Reduce, as_batches, default_errstate
from ildfv.estimators.batches import Batches
from ildfv.estimators.em import Parameters
from ildfv.estimators.mixture_scores import MixtureScores
from ildfv.estimators.mixture_settings import check_settings, chosen_method, most_passes, stepwise_is_over
from ildfv.estimators.mixture_start import Initial, initial_mixtures, smallest_variances
from ildfv.estimators.mixture_warnings import warn_about_constants, warn_about_convergence
from ildfv.estimators.stepwise import Gather, stepwise_pass


class MixtureModel(MixtureScores):
    """The fit of `GaussianMixture`, which documents parameters and attributes, without scikit-learn's base classes."""

    _estimator = "GaussianMixture"

    converged_: bool
    method_: str
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
        method: Literal["exact", "stepwise", "auto"] = "exact",
        init: Literal["k-means", "k-means++", "faiss"] = "k-means",
        n_init: int = 1,
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
        """Mixture of weights (k,), means (k, d) and variances (k, d); `fit` does not change this mixture or its clones.

        InputError: wrong shapes, means that are not finite, variances that are not positive and finite, or weights that
        are negative or do not sum to 1.
        """
        parameters = Parameters.checked(weights, means, variances)
        mixture = cls(
            len(parameters.weights_),
            max_iter=0,
            weights_init=parameters.weights_,
            means_init=parameters.means_,
            variances_init=parameters.variances_,
        )
        mixture._initialise(parameters, smallest_variances(parameters, mixture.variance_floor))
        return mixture

    # -- fitting -------------------------------------------------------------------------------------------------

    @default_errstate
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Fit the mixture by EM.

        Parameters
        ----------
        X : array or iterable
            Array (n, d), (b, n, d) or (b, d, h, w), in memory or on disk (memmap, h5py), or an iterable of such
            batches that can be iterated repeatedly. Batches may be `ildfv.weighted.Weighted`. Integers of 8 or 16
            bits and bool must not be (b, n, d), because they may be images.
        y : None
            Ignored.
        sample_weight : array of shape (n,) or (b, n), optional
            Weight of each descriptor of X, at least 0; 2 has the effect of a duplicate. With method "exact", this holds
            up to rounding if the initialisation uses all descriptors: at most 32,768, or 2^24 / d for d above 512. A
            sample of more descriptors is drawn in proportion to the weights. Must be omitted for streams. If the
            positive weights have a mean below 1, as weights with sum 1, they are scaled to a mean of 1.

        Returns
        -------
        self

        Raises
        ------
        InputError
            An argument of the constructor is invalid; X has a wrong shape, images, values that are not finite or too
            large, or fewer descriptors than components; or `sample_weight` is invalid.

        Warns
        -----
        ConvergenceWarning
            EM has not converged after `max_iter` passes, or the likelihood decreased during stepwise EM.
        UserWarning
            Dimensions have no variance.
        """
        resumes = self._resumes()
        check_settings(self, resumes=resumes)
        batches = as_batches(
            self, X, layouts=(2, 3, 4), reset=not resumes, finite=False, sample_weight=sample_weight, relative=True
        )
        self.method_ = chosen_method(self, batches)
        if resumes:
            (k, d), width = self.means_.shape, batches.width()
            rule = f"n_components must be {k} to continue with warm_start"
            check(k == self.n_components, f"{rule}, got {self.n_components}")
            check(d == width, f"X must have {d} features to continue with warm_start, got {width}")
            self._pass_until_converged(batches)
            start_log_likelihood = -np.inf
        else:
            start_log_likelihood = self._fit_from(initial_mixtures(self, batches), batches)
        warn_about_convergence(self, start_log_likelihood)
        warn_about_constants(self)
        return self

    def _fit_from(self, initials: Iterable[Initial], batches: Batches) -> float:
        """Fit from each initial mixture, keep the fit with the highest likelihood, and return that of its sample."""
        best: dict[str, Any] = {}
        highest = of_sample = -np.inf
        for initial in initials:
            self._initialise(initial.parameters, initial.floors)
            self._pass_until_converged(batches)
            # The likelihood of the last pass is that before its update, so a further pass is needed for comparisons.
            several = self.n_init > 1 and self.means_init is None
            final = self._summed(batches).mean_log_likelihood if several else 0.0
            if not best or final > highest:
                best = {name: getattr(self, name) for name in (*self._tensors, *self._numbers)}
                highest, of_sample = final, initial.log_likelihood
        self.__dict__.update(best)
        return of_sample

    def _pass_until_converged(self, batches: Batches) -> None:
        while self.n_iter_ < most_passes(self) and not self.converged_:
            if self.method_ == "exact" or stepwise_is_over(self):
                # After stepwise passes, exact ones give all batches the same weight.
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

    @default_errstate
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Update the mixture with descriptors of a stream that is read once: one pass of stepwise EM over them.

        The first call computes the initial parameters and the smallest variances from its descriptors, which should be
        a representative sample with a few hundred per component. Later calls, and calls after `fit`, continue from the
        current parameters. Step t has the weight (t + 2)^-0.6: its influence decreases with t.

        Parameters
        ----------
        X : array or iterable
            As in `fit`.
        y : None
            Ignored.
        sample_weight : array of shape (n,) or (b, n), optional
            As in `fit`, but not scaled: 1 counts as one descriptor. After the first call, zeros change nothing.

        Returns
        -------
        self

        Raises
        ------
        InputError
            As for `fit`. Also if the number of dimensions differs from the mixture's, or `reduce` is given.
        """
        check_settings(self, resumes=hasattr(self, "weights_"))
        check(self.reduce is None, "partial_fit must have reduce=None: its steps are not distributed")
        first = not hasattr(self, "weights_")
        options: dict[str, Any] = {"layouts": (2, 3, 4), "reset": first, "finite": False, "zeros": not first}
        batches = as_batches(self, X, sample_weight=sample_weight, **options)
        self.method_ = "stepwise" if self.method == "auto" else self.method
        if first:
            self._initialise(*next(initial_mixtures(self, batches))[:2])
        d, width = self.means_.shape[1], batches.width()
        check(d == width, f"X must have {d} dimensions like the mixture, got {width}")
        known = self._parameters()
        parameters, n_steps, mean = stepwise_pass(known, batches, floors=self.floors_, n_steps=self.n_steps_)
        if n_steps > self.n_steps_:
            self._set(parameters)
            self.n_iter_, self.n_steps_ = self.n_iter_ + 1, n_steps
            self.log_likelihoods_ = np.append(self.log_likelihoods_, mean)
        return self

    def _resumes(self) -> bool:
        return self.warm_start and hasattr(self, "weights_")

    def _initialise(self, parameters: Parameters, floors: np.ndarray) -> None:
        """Set the parameters and the smallest variances, and reset the numbers of passes and steps."""
        self._set(parameters)
        self.floors_, self.n_features_in_ = floors, parameters.means_.shape[1]
        self.n_iter_ = self.n_steps_ = 0
        self.converged_ = False
        self.log_likelihoods_ = np.empty(0)

    def _exact_pass(self, batches: Batches) -> float:
        sums = self._summed(batches)
        n = float(sums.count)
        rule = f"n_components must be at most {n:g}, the number of descriptors (or the sum of their weights)"
        check(
            n >= self.n_components,
            f"{rule}, got {self.n_components}: reduce n_components or multiply the weights by a constant",
        )
        self._set(sums.finish(floor=self.floors_))
        return sums.mean_log_likelihood

    def _set(self, parameters: Parameters) -> None:
        self.weights_, self.means_, self.variances_ = parameters.weights_, parameters.means_, parameters.variances_
