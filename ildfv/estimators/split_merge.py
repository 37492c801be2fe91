"""Split-and-merge EM on a sample, to escape poor local optima (Ueda et al. 2000)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ildfv.estimators.distinct import thinned
from ildfv.estimators.em import MixtureSums, Parameters, split_component
from ildfv.weighted import Weighted

MAX_PASSES = 100  # EM passes over the sample
MAX_WORK = 1 << 38  # descriptors × components × features × passes: five to twenty seconds on two cores

# A move merges two components and splits a third. From k-means starts, EM alone ends in optima that differ by 2 % in
# log likelihood, which is more than a few passes over all descriptors can recover. Of the values tried, these reached
# the highest likelihood in half a second at k = 32, d = 64 (bench/NOTES.md).
ROWS = 256  # moves are tried on one to two times this many descriptors per component, if the sample has them
MERGES_TRIED, SPLITS_TRIED = 5, 10  # the search ends when no combination of these improves the mixture
MAX_MOVES = 96
MOVE_PASSES = 10  # EM passes before a move is accepted or rejected
FEWEST = 3  # EM passes before a move may be rejected: the gains of the first passes after a split may rise
MIN_GAIN = 1e-3  # nats per descriptor that a move must gain to be accepted


def subsample(sample: np.ndarray | Weighted, n_components: int) -> np.ndarray | Weighted:
    """The evenly spaced descriptors of a sample (n, d) on which starts and moves are tried."""
    return thinned(sample, ROWS * n_components)


def em_on_sample(
    parameters: Parameters, sample: np.ndarray | Weighted, *, floors: np.ndarray, tol: float
) -> Parameters:
    """The mixture found from `parameters` by EM and split-and-merge moves on a sample alone.

    Passes over the sample are cheap compared with passes over all descriptors.

    Parameters
    ----------
    parameters : Parameters
        Start. Variances below `floors` are raised to `floors`.
    sample : ndarray of shape (n, d), or Weighted
    floors : ndarray of shape (d,)
        Smallest variance of each dimension.
    tol : float
        EM stops when a pass gains less than this many nats per descriptor.
    """
    parameters = floored(parameters, floors)
    part = subsample(sample, len(parameters.weights_))
    passes = affordable_passes(parameters, part)
    parameters, likelihood = em_passes(parameters, part, floors=floors, tol=tol, passes=passes)
    moves = _moves(parameters)
    for _ in range(min(MAX_MOVES, affordable_passes(parameters, part, most=MAX_WORK) // MOVE_PASSES)):
        if (proposed := next(moves, None)) is None:
            break
        moved = move(parameters, *proposed)
        goal = likelihood + MIN_GAIN
        moved, reached = em_passes(moved, part, floors=floors, tol=tol, passes=MOVE_PASSES, goal=goal)
        if reached > goal:
            parameters, likelihood, moves = moved, reached, _moves(moved)
    return em_passes(parameters, sample, floors=floors, tol=tol, passes=affordable_passes(parameters, sample))[0]


def floored(parameters: Parameters, floors: np.ndarray) -> Parameters:
    """The parameters with variances of at least `floors`."""
    return Parameters(parameters.weights_, parameters.means_, np.maximum(parameters.variances_, floors))


def affordable_passes(parameters: Parameters, x: np.ndarray | Weighted, *, most: int = MAX_PASSES) -> int:
    """The number of EM passes over x within MAX_WORK, from 1 to `most`."""
    return max(1, min(most, MAX_WORK // (len(x) * x.shape[1] * len(parameters.weights_))))


def em_passes(
    parameters: Parameters,
    x: np.ndarray | Weighted,
    *,
    floors: np.ndarray,
    tol: float,
    passes: int,
    goal: float = -np.inf,
) -> tuple[Parameters, float]:
    """The mixture after at most `passes` EM passes over x, and the mean log likelihood at the start of the last pass.

    EM stops once a pass gains less than `tol`, or, after FEWEST passes, once the likelihood cannot reach `goal` unless
    a later pass gains more than the last.
    """
    mean = -np.inf
    for left in range(passes - 1, -1, -1):
        sums = MixtureSums(parameters).update(x, name="sample")
        before, mean = mean, sums.mean_log_likelihood
        parameters = sums.finish(floor=floors)
        gain = mean - before
        if gain < tol or (passes - left > FEWEST and mean + left * gain < goal):
            break
    return parameters, mean


def _moves(parameters: Parameters) -> Iterator[tuple[tuple[int, int], int]]:
    """(pair to merge, component to split): pairs by ascending cost, and for each, components by descending weight."""
    costs, k = merge_costs(parameters), len(parameters.weights_)
    heaviest = np.argsort(-parameters.weights_, kind="stable").tolist()
    cheapest = np.argsort(costs, axis=None, kind="stable")[: min(MERGES_TRIED, k * (k - 1) // 2)]
    for number in cheapest.tolist():
        pair = divmod(number, k)
        for heavy in [component for component in heaviest if component not in pair][:SPLITS_TRIED]:
            yield pair, heavy


def merge_costs(parameters: Parameters) -> np.ndarray:
    """Upper bounds on the log likelihood lost by merging components i < j, nats per descriptor.

    Returns
    -------
    ndarray of shape (k, k)
        Infinite where i ≥ j. The bound is on the Kullback-Leibler divergence between the mixtures before and after
        (Runnalls 2007, B of two components).
    """
    k = len(parameters.weights_)
    logs = np.log(parameters.variances_).sum(axis=1)  # (k,)
    costs = np.full((k, k), np.inf)
    for i in range(k - 1):  # one row at a time: all pairs at once would need k² · d numbers
        others = np.arange(i + 1, k)
        merged = merged_component(parameters, i, others)
        separate = parameters.weights_[i] * logs[i] + parameters.weights_[others] * logs[others]
        costs[i, others] = 0.5 * (merged.weights_ * np.log(merged.variances_).sum(axis=1) - separate)
    return costs


def move(parameters: Parameters, pair: tuple[int, int], heavy: int) -> Parameters:
    """`parameters` with `pair` merged into its first component and `heavy` split into itself and the second."""
    weights, means, variances = parameters.weights_.copy(), parameters.means_.copy(), parameters.variances_.copy()
    kept, freed = pair
    merged = merged_component(parameters, kept, np.array([freed]))
    weights[kept], means[kept], variances[kept] = merged.weights_[0], merged.means_[0], merged.variances_[0]
    split_component(weights, means, variances, heavy, into=freed)
    return Parameters(weights, means, variances)


def merged_component(parameters: Parameters, one: int, others: np.ndarray) -> Parameters:
    """Weight (m,), mean and variance (m, d) of component `one` combined with each of the m components `others`."""
    weights = parameters.weights_[one] + parameters.weights_[others]
    share = np.divide(parameters.weights_[others], weights, out=np.full(len(weights), 0.5), where=weights > 0)[:, None]
    distance = parameters.means_[others] - parameters.means_[one]
    within = (1 - share) * parameters.variances_[one] + share * parameters.variances_[others]
    variances = within + share * (1 - share) * distance**2
    return Parameters(weights, parameters.means_[one] + share * distance, variances)
