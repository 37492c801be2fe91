"""The initial parameters of a mixture and the smallest variances of its fit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ildfv.errors import check
from ildfv.estimators.base import random_generator
from ildfv.estimators.batches import Batches
from ildfv.estimators.distinct import distinct, thinned
from ildfv.estimators.em import MixtureSums, Parameters
from ildfv.estimators.split_merge import affordable_passes, em_on_sample, em_passes, floored, subsample
from ildfv.estimators.start import sample_size, start, without_rounding
from ildfv.weighted import Weighted

# Trials for a start of exact EM, chosen in bench/NOTES.md. They save passes over all descriptors: four trials and EM on
# a part of the sample take a quarter of the time of the saved passes.
TRIALS = 4
RUN_ROWS = 128  # descriptors per component of each trial
RUN_STEPS = 3  # Lloyd steps of each trial
RUN_PASSES = 5  # EM passes of each trial
PART_PASSES = 30  # EM passes of the best trial over 256 descriptors per component
TIE = 1e-6  # nats by which a later trial must be better; smaller differences may be rounding errors


class Initial(NamedTuple):
    """The initial mixture of a fit."""

    parameters: Parameters
    floors: np.ndarray  # (d,), the smallest variances of the fit
    log_likelihood: float  # mean on the sample; −inf unless the method is "stepwise" and the mixture was not given


def initial_mixtures(mixture, batches: Batches) -> Iterator[Initial]:
    """The mixtures from which the fits of a `GaussianMixture` start: `n_init`, or only the given one."""
    k, share = mixture.n_components, mixture.variance_floor
    if mixture.means_init is not None:
        given = Parameters.checked(mixture.weights_init, mixture.means_init, mixture.variances_init)
        found = len(given.weights_)
        check(found == k, f"means_init must have {k} components, got {found}")
        floors = smallest_variances(given, share)
        yield Initial(floored(given, floors) if mixture.max_iter > 0 else given, floors, -np.inf)
        return
    seed = int(random_generator(mixture.random_state).randint(2**31))
    sample: np.ndarray | Weighted
    sample, weights, complete = batches.drawn(sample_size(k, batches.width()), seed)
    if complete:
        sample = distinct(sample, weights)
    for run in range(mixture.n_init):
        if mixture.method_ == "exact":
            yield _best_trial(mixture, sample, seed + run * TRIALS)
        else:
            parameters = start(subsample(sample, k), k, init=mixture.init, seed=seed + run)
            floors = smallest_variances(parameters, share)
            parameters = em_on_sample(parameters, sample, floors=floors, tol=mixture.tol)
            yield Initial(parameters, floors, MixtureSums(parameters).update(sample).mean_log_likelihood)


def _best_trial(mixture, sample: np.ndarray | Weighted, seed: int) -> Initial:
    """The trial with the highest likelihood after some EM passes over few descriptors, improved by EM on more of them.

    A single trial often puts two separate clusters into one component and splits a third cluster.
    """
    k = mixture.n_components
    part = subsample(sample, k)
    few = thinned(part, RUN_ROWS * k)
    best, highest = None, -np.inf
    for trial in range(TRIALS):
        found = start(few, k, init=mixture.init, seed=seed + trial, steps=RUN_STEPS)
        floors = smallest_variances(found, mixture.variance_floor)
        passes = max(1, affordable_passes(found, few, most=RUN_PASSES * TRIALS) // TRIALS)
        improved, likelihood = em_passes(floored(found, floors), few, floors=floors, tol=mixture.tol, passes=passes)
        if best is None or likelihood > highest + TIE:
            best, highest = (improved, floors), likelihood
    assert best is not None
    parameters, floors = best
    passes = affordable_passes(parameters, part, most=PART_PASSES)
    parameters, _ = em_passes(parameters, part, floors=floors, tol=mixture.tol, passes=passes)
    return Initial(in_order(parameters), floors, -np.inf)


def in_order(parameters: Parameters) -> Parameters:
    """The components sorted by their means, so that equal optima found from different seeds have the same order."""
    order = np.lexsort(parameters.means_.T[::-1])
    return Parameters(parameters.weights_[order], parameters.means_[order], parameters.variances_[order])


def smallest_variances(parameters: Parameters, share: float) -> np.ndarray:
    """The smallest variance of each dimension (d,): `share` of its variance in the mixture `parameters`.

    A dimension without variance has `share` of the mean variance of the other dimensions. The result is positive also
    if the squares of the values underflow.
    """
    means, overall = parameters.overall()
    overall = without_rounding(overall, means)  # (d,)
    typical = overall[overall > 0].mean() if (overall > 0).any() else 1.0
    return np.maximum(share * np.where(overall > 0, overall, typical), np.finfo(np.float64).tiny)
