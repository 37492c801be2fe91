"""Contributions of locations add up to the score of the improved Fisher vector, whatever its normalisation."""

import numpy as np
import pytest

from ildfv import FisherVector, GaussianMixture
from ildfv.inference.contributions import contributions


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
def test_they_add_up_to_the_score(improved, threshold, weighted):
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
