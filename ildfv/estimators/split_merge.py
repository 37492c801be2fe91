"""Split-and-merge EM on a sample: out of the poor optima that EM alone ends in (Ueda et al. 2000)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ildfv.estimators.em import MixtureSums, Parameters, split_component

MAX_PASSES = 100  # at most, over the sample
MAX_WORK = 1 << 38  # at most, descriptors × components × features × passes: five to twenty seconds on two cores

# A move joins two components and cuts a third. From k-means starts EM alone ends in optima 2 % apart in log likelihood,
# more than few passes over all descriptors win back; of the numbers tried, these came highest in half a second of
# k = 32, d = 64 (bench/NOTES.md).
ROWS = 256  # descriptors a component that moves are tried on, up to twice as many, where the sample has them
MERGES_TRIED, SPLITS_TRIED = (
    5,
    10,
)  # a mixture stays where none of the cheapest joins, each with the heaviest cuts, is a gain
MAX_MOVES = 96  # tried at most
MOVE_PASSES = 10  # after which a move is a gain or is taken back
MIN_GAIN = 1e-3  # nats a descriptor


def subsample(sample: np.ndarray, n_components: int) -> np.ndarray:
    """The descriptors of a sample (n, d) that starts and moves are tried on, evenly taken from it."""
    return np.ascontiguousarray(sample[:: max(1, len(sample) // (ROWS * n_components))])


def em_on_sample(parameters: Parameters, sample: np.ndarray, *, floors: np.ndarray, tol: float) -> Parameters:
    """The mixture that EM and moves find from `at` on a sample (n, d) alone.

    floors: the smallest variances (d,), of the start as well. Passes over all descriptors are few and dear, the sample
    is at hand.
    """
    parameters = Parameters(parameters.weights_, parameters.means_, np.maximum(parameters.variances_, floors))
    part = subsample(sample, len(parameters.weights_))
    parameters, likelihood = _em(
        parameters, part, floors=floors, tol=tol, passes=min(MAX_PASSES, _affordable_passes(parameters, part))
    )
    moves = _moves(parameters)
    for _ in range(min(MAX_MOVES, _affordable_passes(parameters, part) // MOVE_PASSES)):
        if (proposed := next(moves, None)) is None:
            break
        moved, reached = _em(move(parameters, *proposed), part, floors=floors, tol=tol, passes=MOVE_PASSES)
        if reached > likelihood + MIN_GAIN:
            parameters, likelihood, moves = moved, reached, _moves(moved)
    return _em(
        parameters, sample, floors=floors, tol=tol, passes=min(MAX_PASSES, _affordable_passes(parameters, sample))
    )[0]


def _affordable_passes(parameters: Parameters, x: np.ndarray) -> int:
    """How many passes of EM over x are no more than MAX_WORK, one at least."""
    return max(1, MAX_WORK // (x.size * len(parameters.weights_)))


def _em(
    parameters: Parameters, x: np.ndarray, *, floors: np.ndarray, tol: float, passes: int
) -> tuple[Parameters, float]:
    """The mixture when a pass gains less than `tol`, or after `passes`; the mean log likelihood before the last."""
    mean = -np.inf
    for _ in range(passes):
        sums = MixtureSums(parameters).update(x, name="sample")
        before, mean = mean, sums.mean_log_likelihood
        parameters = sums.finish(floor=floors)
        if mean - before < tol:
            break
    return parameters, mean


def _moves(parameters: Parameters) -> Iterator[tuple[tuple[int, int], int]]:
    """Pairs to join, the cheapest first, each with components to cut, the heaviest first."""
    costs, k = merge_costs(parameters), len(parameters.weights_)
    heaviest = np.argsort(-parameters.weights_, kind="stable").tolist()
    cheapest = np.argsort(costs, axis=None, kind="stable")[: min(MERGES_TRIED, k * (k - 1) // 2)]
    for number in cheapest.tolist():
        pair = divmod(number, k)
        for heavy in [component for component in heaviest if component not in pair][:SPLITS_TRIED]:
            yield pair, heavy


def merge_costs(parameters: Parameters) -> np.ndarray:
    """What joining components i < j costs at most, nats a descriptor, (k, k) with infinity elsewhere.

    A bound on the Kullback-Leibler divergence of this mixture from the merged_component one (Runnalls 2007, B of two components).
    """
    k = len(parameters.weights_)
    logs = np.log(parameters.variances_).sum(axis=1)  # (k,)
    costs = np.full((k, k), np.inf)
    for i in range(k - 1):  # a row at a time: all pairs at once are k² · d numbers
        others = np.arange(i + 1, k)
        both = merged_component(parameters, i, others)
        parts = parameters.weights_[i] * logs[i] + parameters.weights_[others] * logs[others]
        costs[i, others] = 0.5 * (both.weights_ * np.log(both.variances_).sum(axis=1) - parts)
    return costs


def move(parameters: Parameters, pair: tuple[int, int], heavy: int) -> Parameters:
    """`at` with the pair of components merged_component into the first of them, and `heavy` cut into itself and the second."""
    weights, means, variances = parameters.weights_.copy(), parameters.means_.copy(), parameters.variances_.copy()
    kept, freed = pair
    both = merged_component(parameters, kept, np.array([freed]))
    weights[kept], means[kept], variances[kept] = both.weights_[0], both.means_[0], both.variances_[0]
    split_component(weights, means, variances, heavy, into=freed)
    return Parameters(weights, means, variances)


def merged_component(parameters: Parameters, one: int, others: np.ndarray) -> Parameters:
    """The Gaussians of weight, mean and variance that component `one` and each other have together: (m,), (m, d)."""
    weights = parameters.weights_[one] + parameters.weights_[others]
    share = np.divide(parameters.weights_[others], weights, out=np.full(len(weights), 0.5), where=weights > 0)[:, None]
    apart = parameters.means_[others] - parameters.means_[one]
    variances = (
        (1 - share) * parameters.variances_[one]
        + share * parameters.variances_[others]
        + share * (1 - share) * apart**2
    )
    return Parameters(weights, parameters.means_[one] + share * apart, variances)
