"""Contributions of locations add up to the score of the improved Fisher vector, whatever its normalisation."""

import numpy as np
import pytest

from ildfv import FisherVector, GaussianMixture
from ildfv.inference.contributions import component_scores, contributions, floor_at, unlocated


def problem(k=5, d=7, b=3, h=6, w=8, seed=0):
    rng = np.random.default_rng(seed)
    mixture = GaussianMixture.from_parameters(
        rng.dirichlet(np.ones(k) * 5), rng.normal(size=(k, d)), np.exp(0.4 * rng.normal(size=(k, d)))
    )
    maps = rng.normal(size=(b, d, h, w)) * 1.3
    return mixture, maps, rng.normal(size=(4, 2 * k * d)), rng.random((b, h * w)) * (rng.random((b, h * w)) < 0.6)


@pytest.mark.parametrize("improved", [True, False])
@pytest.mark.parametrize("threshold", [0.0, 1e-6, 0.05])
@pytest.mark.parametrize("weighted", [False, True])
def test_contributions_add_up_to_the_score(improved, threshold, weighted):
    mixture, maps, g, weights = problem()
    weights = weights if weighted else None
    fisher = FisherVector(mixture, improved=improved, threshold=threshold)
    expected = fisher.transform(maps, weights=weights) @ g.T  # (b, C)
    found = contributions(fisher, g, maps, weights)
    assert found.shape == (3, 48, 4)
    np.testing.assert_allclose(found.sum(axis=1), expected, atol=1e-10)


def test_float32_maps_add_up_to_the_float32_score():
    mixture, maps, g, _ = problem(k=16, d=32, h=20, w=20)
    maps = np.maximum(maps, 0).astype(np.float32)  # half of the values are 0, as after a ReLU
    fisher = FisherVector(mixture)
    expected = np.asarray(fisher.transform(maps), dtype=np.float64) @ g.T
    np.testing.assert_allclose(contributions(fisher, g, maps).sum(axis=1), expected, atol=1e-4)


def test_a_location_outside_the_region_contributes_nothing():
    mixture, maps, g, weights = problem()
    found = contributions(FisherVector(mixture), g, maps, weights)
    assert not found[weights == 0].any()
    assert found[weights > 0].any()


def test_an_empty_region_contributes_nothing():
    mixture, maps, g, weights = problem()
    weights[1] = 0
    assert not contributions(FisherVector(mixture), g, maps, weights)[1].any()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("floor", [1e-3, 0.05, 10.0])
def test_a_floor_does_not_change_the_sum(floor, weighted):
    mixture, maps, g, weights = problem()
    weights = weights if weighted else None
    fisher = FisherVector(mixture)
    expected = fisher.transform(maps, weights=weights) @ g.T
    found = contributions(fisher, g, maps, weights, floor=floor)
    np.testing.assert_allclose(found.sum(axis=1), expected, atol=1e-10)
    if weighted:
        assert not found[weights == 0].any()


def test_a_floor_removes_contributions_that_cancel_each_other():
    mixture, maps, g, _ = problem(b=1)
    fisher = FisherVector(mixture)
    exact, floored = (contributions(fisher, g, maps, floor=floor) for floor in (0.0, 0.1))
    assert np.abs(floored).sum() < 0.7 * np.abs(exact).sum()
    located = expected_located(fisher, g, maps, 0.1)
    np.testing.assert_allclose(unlocated(fisher, g, maps, floor=0.1), exact.sum(axis=1) - located, atol=1e-10)


def expected_located(fisher, g, maps, floor):
    """Σ_j g_j r_j / (√max(|r_j|, floor) ‖√|r|‖) from the raw Fisher vector."""
    raw = FisherVector(fisher.mixture, improved=False).transform(maps)
    norm = np.sqrt(np.abs(raw).sum(axis=1, keepdims=True))
    return (raw / np.sqrt(np.maximum(np.abs(raw), floor)) / norm) @ g.T


def test_components_add_up_to_the_whole():
    mixture, maps, g, weights = problem()
    fisher = FisherVector(mixture)
    parts = np.stack([contributions(fisher, g, maps, weights, components=[k]) for k in range(5)], axis=3)
    np.testing.assert_allclose(parts.sum(axis=3), contributions(fisher, g, maps, weights), atol=1e-12)
    scores = component_scores(fisher, g, maps, weights)  # (b, C, k)
    np.testing.assert_allclose(parts.sum(axis=1), scores, atol=1e-10)
    two = contributions(fisher, g, maps, weights, components=[1, 3], floor=0.02)
    np.testing.assert_allclose(two.sum(axis=1), scores[:, :, [1, 3]].sum(axis=2), atol=1e-10)


def test_the_floor_is_a_quantile_of_the_raw_values():
    mixture, maps, *_ = problem()
    raw = FisherVector(mixture, improved=False).transform(maps)
    assert floor_at(FisherVector(mixture), maps, quantile=0.3) == pytest.approx(np.quantile(np.abs(raw), 0.3))
