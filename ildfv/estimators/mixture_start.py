"""The initial parameters of a mixture and the smallest variances of its fit."""

from __future__ import annotations

import numpy as np
from sklearn.utils import check_random_state

from ildfv.errors import check
from ildfv.estimators.batches import Batches
from ildfv.estimators.em import MixtureSums, Parameters
from ildfv.estimators.split_merge import em_on_sample, subsample
from ildfv.estimators.start import sample_size, start, without_rounding


def initial_parameters(mixture, batches: Batches) -> tuple[Parameters, float]:
    """The parameters from which a `GaussianMixture` starts, and their mean log likelihood on the sample.

    The likelihood is −inf unless `method_` is "stepwise" and the parameters were computed here.
    """
    k = mixture.n_components
    if mixture.means_init is not None:
        given = Parameters.checked(mixture.weights_init, mixture.means_init, mixture.variances_init)
        found = len(given.weights_)
        check(found == k, f"means_init must have {k} components, got {found}")
        return given, -np.inf
    seed = int(check_random_state(mixture.random_state).randint(2**31))
    sample = batches.sample(sample_size(k, batches.width()), seed)
    if mixture.method_ == "exact":
        return start(sample, k, init=mixture.init, seed=seed, n_init=mixture.n_init), -np.inf
    parameters = start(subsample(sample, k), k, init=mixture.init, seed=seed)
    floors = smallest_variances(parameters, mixture.variance_floor)
    parameters = em_on_sample(parameters, sample, floors=floors, tol=mixture.tol)
    return parameters, MixtureSums(parameters).update(sample).mean_log_likelihood


def smallest_variances(parameters: Parameters, share: float) -> np.ndarray:
    """The smallest variance of each dimension (d,): `share` of its variance in the mixture `parameters`.

    A dimension without variance has `share` of the mean variance of the other dimensions.
    """
    means, overall = parameters.overall()
    overall = without_rounding(overall, means)  # (d,)
    typical = overall[overall > 0].mean() if (overall > 0).any() else 1.0
    return share * np.where(overall > 0, overall, typical)
