"""The start of a mixture honours weights: they have the effect of duplicates, whatever the order of the rows."""

import numpy as np
import pytest
from estimators_support import blobs

from ildfv.estimators import mixture_start
from ildfv.estimators.distinct import distinct, thinned
from ildfv.estimators.mixture import GaussianMixture
from ildfv.weighted import Weighted, split

NAMES = ("weights_", "means_", "variances_", "floors_")


def started(x, weights=None, **options):
    """The parameters from which EM starts."""
    mixture = GaussianMixture(5, max_iter=0, **options).fit(x, sample_weight=weights)
    return [getattr(mixture, name) for name in NAMES]


def shuffled(x, seed=1):
    return x[np.random.default_rng(seed).permutation(len(x))]


@pytest.mark.filterwarnings("ignore:EM has not converged")
@pytest.mark.parametrize("method", ["exact", "stepwise"])
@pytest.mark.parametrize("init", ["k-means", "k-means++"])
@pytest.mark.parametrize("n", [200, 3000])
def test_a_start_from_weights_equals_that_from_repeated_rows(n, init, method):
    x = blobs()[:n] if n <= 1500 else np.concatenate([blobs(), blobs(seed=9)])
    times = np.random.default_rng(2).integers(0, 4, len(x))
    weighted = started(x, times, init=init, method=method, tol=1e-2)
    repeated = started(shuffled(np.repeat(x, times, axis=0)), init=init, method=method, tol=1e-2)
    for found, expected in zip(weighted, repeated, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_start_depends_on_the_weights():
    x = blobs()
    doubled = started(x, np.where(x[:, 0] > 0, 2.0, 1.0))[1]
    assert not np.array_equal(doubled, started(x)[1])


def test_a_start_does_not_depend_on_the_unit_of_the_weights():
    x, weights = blobs(), np.random.default_rng(0).random(len(blobs()))
    for found, expected in zip(started(x, weights), started(x, 64 * weights), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_a_start_from_a_part_of_the_data_agrees_on_average(monkeypatch):
    monkeypatch.setattr(mixture_start, "sample_size", lambda k, d: 400)
    x = blobs()
    weights = np.where(x[:, 0] > np.median(x[:, 0]), 3, 1)
    one, two = (
        np.mean([m @ v for m, v, *_ in (started(*data, random_state=seed) for seed in range(8))], axis=0)
        for data in ((x, weights), (np.repeat(x, weights, axis=0),))
    )
    np.testing.assert_allclose(one, two, atol=0.1 * x.std())
    assert np.abs(one - x.mean(axis=0)).max() > 0.2 * x.std()


def test_distinct_rows_have_the_sums_of_their_weights():
    x = np.array([[1.0, 0.0], [2.0, 5.0], [1.0, -0.0], [3.0, 3.0]])
    rows, weights = split(distinct(x, np.array([0.5, 1.0, 0.25, 0.0])))
    assert {(*row, weight) for row, weight in zip(rows.tolist(), weights, strict=True)} == {(1, 0, 0.75), (2, 5, 1)}
    assert not isinstance(distinct(x[:2], None), Weighted)


def test_thinned_weights_are_in_proportion():
    x = np.arange(1000.0)[:, None]
    rows, weights = split(thinned(Weighted(x, np.where(x[:, 0] < 10, 900.0, 1.0)), 100))
    assert weights.sum() == 100
    assert weights[rows[:, 0] < 10].sum() == pytest.approx(90, abs=1)
    np.testing.assert_array_equal(thinned(x, 100), x[::10])
