"""Split-and-merge EM on a sample: out of the poor optima that EM alone ends in (Ueda et al. 2000)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ildfv.estimators.em import MixtureSums, Parameters, cut

PASSES = 100  # at most, over the sample

# A move joins two components and cuts a third. From k-means starts EM alone ends in optima 2 % apart in log likelihood,
# more than few passes over all descriptors win back; of the numbers tried, these came highest in half a second
# (bench/NOTES.md).
ROWS = 256  # descriptors a component that moves are tried on, where the sample has so many
MERGES, SPLITS = 5, 10  # a mixture stays where none of the cheapest joins, each with the heaviest cuts, is a gain
MOVES = 96  # tried at most
MOVE_PASSES = 10  # after which a move is a gain or is taken back
GAIN = 1e-3  # nats a descriptor


def few(sample: np.ndarray, n_components: int) -> np.ndarray:
    """The descriptors of a sample (n, d) that starts and moves are tried on, evenly taken from it."""
    return np.ascontiguousarray(sample[:: max(1, len(sample) // (ROWS * n_components))])


def em_on_sample(at: Parameters, sample: np.ndarray, *, floors: np.ndarray, tol: float) -> Parameters:
    """The mixture that EM and moves find from `at` on a sample (n, d) alone.

    floors: the smallest variances (d,), of the start as well. Passes over all descriptors are few and dear, the sample
    is at hand.
    """
    at = Parameters(at.weights_, at.means_, np.maximum(at.variances_, floors))
    part = few(sample, len(at.weights_))
    at, likelihood = _em(at, part, floors=floors, tol=tol, passes=PASSES)
    moves = _moves(at)
    for _ in range(MOVES):
        if (proposed := next(moves, None)) is None:
            break
        moved, reached = _em(move(at, *proposed, floors=floors), part, floors=floors, tol=tol, passes=MOVE_PASSES)
        if reached > likelihood + GAIN:
            at, likelihood, moves = moved, reached, _moves(moved)
    return _em(at, sample, floors=floors, tol=tol, passes=PASSES)[0]


def _em(at: Parameters, x: np.ndarray, *, floors: np.ndarray, tol: float, passes: int) -> tuple[Parameters, float]:
    """The mixture when a pass gains less than `tol`, or after `passes`; the mean log likelihood before the last."""
    mean = -np.inf
    for _ in range(passes):
        sums = MixtureSums(at).update(x, name="sample")
        before, mean = mean, sums.mean_log_likelihood
        at = sums.finish(floor=floors)
        if mean - before < tol:
            break
    return at, mean


def _moves(at: Parameters) -> Iterator[tuple[tuple[int, int], int]]:
    """Pairs to join, the cheapest first, each with components to cut, the heaviest first."""
    heaviest = np.argsort(-at.weights_, kind="stable")
    first, second = np.triu_indices(len(at.weights_), 1)
    for number in np.argsort(join_costs(at, first, second), kind="stable")[:MERGES]:
        pair = int(first[number]), int(second[number])
        for heavy in [int(k) for k in heaviest if k not in pair][:SPLITS]:
            yield pair, heavy


def join_costs(at: Parameters, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """What joining components first (m,) and second (m,) costs at most, nats a descriptor, (m,).

    A bound on the Kullback-Leibler divergence of this mixture from the joined one (Runnalls 2007, B of two components).
    """
    a, b = at.weights_[first], at.weights_[second]
    pairs = joined(at, first, second).variances_
    logs = [np.log(variances).sum(axis=1) for variances in (pairs, at.variances_[first], at.variances_[second])]
    return 0.5 * ((a + b) * logs[0] - a * logs[1] - b * logs[2])


def move(at: Parameters, pair: tuple[int, int], heavy: int, *, floors: np.ndarray) -> Parameters:
    """`at` with the pair of components joined into the first of them, and `heavy` cut into itself and the second."""
    weights, means, variances = at.weights_.copy(), at.means_.copy(), at.variances_.copy()
    kept, freed = pair
    both = joined(at, [kept], [freed])
    weights[kept], means[kept], variances[kept] = (
        both.weights_[0],
        both.means_[0],
        np.maximum(both.variances_[0], floors),
    )
    cut(weights, means, variances, heavy, into=freed)
    return Parameters(weights, means, variances)


def joined(at: Parameters, first, second) -> Parameters:
    """The Gaussians of the same weight, mean and variance as pairs of components: (m,), (m, d), (m, d)."""
    a, b = at.weights_[first], at.weights_[second]
    weights = a + b
    share = np.divide(b, weights, out=np.full(len(weights), 0.5), where=weights > 0)[:, None]  # of the second
    apart = at.means_[second] - at.means_[first]
    variances = (1 - share) * at.variances_[first] + share * at.variances_[second] + share * (1 - share) * apart**2
    return Parameters(weights, at.means_[first] + share * apart, variances)
