"""Split-and-merge EM: merge costs, invariants of a move, escape from local optima, limits on work."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from ildfv import GaussianMixture
from ildfv.estimators import mixture_start, split_merge
from ildfv.estimators.em import MixtureSums, Parameters
from ildfv.estimators.split_merge import em_on_sample, merge_costs, merged_component, move, subsample


def mixture(seed: int = 0, k: int = 6, d: int = 3) -> Parameters:
    random = np.random.default_rng(seed)
    weights = random.dirichlet(np.full(k, 5.0))
    return Parameters(weights, random.normal(scale=2.0, size=(k, d)), random.uniform(0.2, 2.0, size=(k, d)))


def drawn(at: Parameters, n: int = 200_000) -> np.ndarray:
    return GaussianMixture.from_parameters(at.weights_, at.means_, at.variances_).sample(n)[0]


def likelihood(at: Parameters, x: np.ndarray) -> float:
    return MixtureSums(at).update(x).mean_log_likelihood


def four_blobs(n: int = 4000) -> np.ndarray:
    centres = np.array([[0, 0], [2.5, 0], [40, 0], [42.5, 0]], dtype=float)
    random = np.random.default_rng(0)
    return centres[random.integers(4, size=n)] + random.normal(scale=0.3, size=(n, 2))


@pytest.mark.parametrize("seed", range(5))
def test_the_bound_on_the_cost_of_a_merge_holds(seed):
    at = mixture(seed)
    x = drawn(at)
    bounds = merge_costs(at)
    pairs = list(combinations(range(len(at.weights_)), 2))
    assert np.isinf(bounds).sum() == bounds.size - len(pairs)
    assert all(bounds[pair] > 0 for pair in pairs)
    for pair in (min(pairs, key=bounds.__getitem__), max(pairs, key=bounds.__getitem__)):
        both = merged_component(at, pair[0], np.array([pair[1]]))
        rest = Parameters(*(np.delete(a, pair, axis=0) for a in (at.weights_, at.means_, at.variances_)))
        after = Parameters(
            np.append(rest.weights_, both.weights_),
            np.vstack([rest.means_, both.means_]),
            np.vstack([rest.variances_, both.variances_]),
        )
        lost = likelihood(at, x) - likelihood(after, x)
        assert lost < bounds[pair] + 0.01  # tolerance for the sampling error of 200,000 draws


def test_merging_equal_components_costs_nothing():
    at = Parameters(np.full(3, 1 / 3), np.array([[0.0], [0.0], [9.0]]), np.ones((3, 1)))
    costs = merge_costs(at)
    assert costs[0, 1] == pytest.approx(0, abs=1e-12)
    assert costs[0, 2] == pytest.approx(np.log(1 + 4.5**2) / 3)  # half of 2/3 of the log of the merged variance


def test_merging_a_component_without_weight_costs_nothing():
    at = Parameters(np.array([0.0, 0.0, 1.0]), np.array([[0.0], [1.0], [9.0]]), np.ones((3, 1)))
    np.testing.assert_allclose(merge_costs(at)[np.triu_indices(3, 1)], 0, atol=1e-12)
    both = merged_component(at, 0, np.array([1]))
    assert np.isfinite(both.means_).all()
    assert (both.variances_ > 0).all()


def test_a_move_preserves_the_mean_and_the_other_components():
    at = mixture()
    moved = move(at, (1, 4), 2)
    np.testing.assert_allclose(moved.overall()[0], at.overall()[0])
    assert moved.weights_.sum() == pytest.approx(1)
    assert moved.weights_[1] == pytest.approx(at.weights_[1] + at.weights_[4])
    assert moved.weights_[2] == moved.weights_[4] == pytest.approx(at.weights_[2] / 2)
    for rest in (0, 3, 5):
        np.testing.assert_array_equal(moved.means_[rest], at.means_[rest])
        np.testing.assert_array_equal(moved.variances_[rest], at.variances_[rest])


def test_moves_escape_a_local_optimum_of_em():
    """Three components share two blobs and one covers two: EM alone cannot move a component between them."""
    x = four_blobs()
    at = Parameters(np.full(4, 1 / 4), np.array([[-0.2, 0], [0.2, 0], [2.5, 0], [41.2, 0]]), np.ones((4, 2)))
    options = {"weights_init": at.weights_, "means_init": at.means_, "variances_init": at.variances_}
    alone = GaussianMixture(4, max_iter=200, **options).fit(x)
    assert np.sort(alone.means_[:, 0])[2] < 3  # a local optimum
    moved = em_on_sample(at, x, floors=np.full(2, 1e-6), tol=1e-6)
    np.testing.assert_allclose(np.sort(moved.means_[:, 0]), [0, 2.5, 40, 42.5], atol=0.05)
    assert likelihood(moved, x) > alone.score(x) + 0.3


@pytest.mark.parametrize("k", [1, 2])
def test_fewer_than_three_components_give_plain_em(k):
    x = four_blobs(1000)
    floors = np.full(2, 1e-6)
    start = Parameters(np.full(k, 1 / k), x[:k].copy(), np.ones((k, 2)))
    at = em_on_sample(start, x, floors=floors, tol=1e-9)
    options = {"weights_init": start.weights_, "means_init": start.means_, "variances_init": start.variances_}
    alone = GaussianMixture(k, max_iter=500, tol=1e-9, **options).fit(x)
    assert likelihood(at, x) > alone.score(x) - 1e-6


def test_moves_keep_variances_above_their_floors():
    x = np.repeat(four_blobs(50), 20, axis=0)  # 20 equal descriptors each: without floors variances go to zero
    floors = np.full(2, 0.01)
    start = Parameters(np.full(8, 1 / 8), x[::20][:8].copy(), np.zeros((8, 2)))  # as after k-means on equal descriptors
    at = em_on_sample(start, x, floors=floors, tol=1e-6)
    assert (at.variances_ >= floors).all()
    assert np.isfinite(likelihood(at, x))


def test_subsamples_are_evenly_spaced_and_small_samples_are_kept():
    sample = np.arange(10_000.0)[:, None]
    np.testing.assert_array_equal(subsample(sample, 4)[:, 0], np.arange(0, 10_000, 9))
    np.testing.assert_array_equal(subsample(sample, 100), sample)


def test_moves_merge_the_cheapest_pairs_and_split_the_heaviest_components():
    at = Parameters(
        np.array([0.1, 0.1, 0.5, 0.3]), np.array([[0.0], [0.1], [50.0], [100.0]]), np.ones((4, 1))
    )  # the first two components are nearly equal
    moves = list(split_merge._moves(at))
    assert moves[:2] == [((0, 1), 2), ((0, 1), 3)]
    assert len(moves) == split_merge.MERGES_TRIED * 2  # any merge leaves two components to split
    assert len(set(moves)) == len(moves)


@pytest.mark.parametrize(("name", "most"), [("MAX_MOVES", 3), ("MAX_WORK", 3 * 8 * 4000 * 2 * 10)])
def test_the_number_of_moves_is_limited(monkeypatch, name, most):
    tried = []
    monkeypatch.setattr(split_merge, name, most)
    monkeypatch.setattr(split_merge, "move", lambda *given: tried.append(given) or move(*given))
    x = four_blobs(4000)
    start = Parameters(np.full(8, 1 / 8), x[:8].astype(float), np.ones((8, 2)))
    monkeypatch.setattr(split_merge, "subsample", lambda sample, k: sample)
    em_on_sample(start, x, floors=np.full(2, 1e-6), tol=1e-6)
    assert len(tried) == 3


def passes(monkeypatch, run) -> list[int]:
    """Number of descriptors of each EM pass made by `run`."""
    made = []

    class Counted(MixtureSums):
        def update(self, x, **options):
            made.append(len(x))
            return super().update(x, **options)

    monkeypatch.setattr(split_merge, "MixtureSums", Counted)
    run()
    return made


def test_em_on_the_sample_ends_when_it_gains_less_than_tol(monkeypatch):
    x, at = four_blobs(), mixture(k=4, d=2)
    floors = np.full(2, 1e-6)
    soon = passes(monkeypatch, lambda: em_on_sample(at, x, floors=floors, tol=np.inf))
    late = passes(monkeypatch, lambda: em_on_sample(at, x, floors=floors, tol=1e-9))
    assert soon.count(len(x)) == 2  # the gain is known after the second pass
    assert late.count(len(x)) > 2
    assert len(late) > len(soon)


def test_moves_are_recomputed_after_an_accepted_one(monkeypatch):
    starts, found = [], split_merge._moves
    monkeypatch.setattr(split_merge, "_moves", lambda at: starts.append(at) or found(at))
    at = Parameters(np.full(4, 0.25), np.array([[0, 0], [0.1, 0], [40, 0], [40.1, 0]], float), np.ones((4, 2)))
    best = em_on_sample(at, four_blobs(), floors=np.full(2, 1e-6), tol=1e-3)
    assert len(starts) > 1
    assert likelihood(best, four_blobs()) > likelihood(starts[0], four_blobs())


def test_starts_use_a_part_of_the_sample(monkeypatch):
    seen = []
    whole = mixture_start.start
    monkeypatch.setattr(
        mixture_start, "start", lambda x, *more, **options: seen.append(len(x)) or whole(x, *more, **options)
    )
    x = four_blobs(4000)
    for method in ("stepwise", "exact"):
        GaussianMixture(4, method=method, max_iter=0, random_state=0).fit(x)
    assert seen == [len(subsample(x, 4)), *[667] * mixture_start.TRIALS]
    assert seen[0] == 1334
