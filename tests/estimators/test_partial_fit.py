"""Mixtures fitted to descriptors that are seen once, and guarantees for variances and numbers of threads."""

import warnings

import numpy as np
import pytest

from ildfv import GaussianMixture
from ildfv.errors import InputError
from ildfv.kernels import cpu
from ildfv.weighted import Weighted


def clusters(n=6000, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 3)) + 6 * rng.integers(0, 3, (n, 1)) * [1, -1, 0.5]


def test_batches_that_are_seen_once_give_nearly_the_likelihood_of_em():
    x = clusters()
    online = GaussianMixture(3)
    for batch in np.split(x, 10):
        assert online.partial_fit(batch) is online
    whole = GaussianMixture(3).fit(x)
    assert online.score(clusters(seed=1)) == pytest.approx(whole.score(clusters(seed=1)), abs=0.02)
    assert online.n_iter_ == len(online.log_likelihoods_) == 10
    assert online.n_steps_ >= 10


def test_partial_fit_follows_data_that_change():
    mixture = GaussianMixture(1)
    for shift in [0] * 3 + [10] * 40:
        mixture.partial_fit(np.random.default_rng(shift).normal(size=(200, 2)) + shift)
    np.testing.assert_allclose(mixture.means_, 10, atol=1.5)


def test_weights_of_partial_fit_equal_duplicates():
    x = clusters(300)
    times = np.random.default_rng(0).integers(1, 4, 300)
    start = {"weights_init": [0.3, 0.7], "means_init": x[:2], "variances_init": np.ones((2, 3))}
    weighted = GaussianMixture(2, **start).partial_fit(x[None], sample_weight=times[None])
    # a single step, as one map is not divided
    repeated = GaussianMixture(2, **start).partial_fit(np.repeat(x, times, axis=0)[None])
    np.testing.assert_allclose(weighted.means_, repeated.means_, rtol=1e-9)


@pytest.mark.parametrize("kind", ["sample_weight", "stream"])
def test_a_batch_without_weight_changes_nothing_after_the_first_call(kind):
    x, zeros = clusters(600), np.zeros(600)
    mixture = GaussianMixture(3).partial_fit(x)
    before = {name: np.copy(value) for name, value in vars(mixture).items() if name.endswith("_")}
    if kind == "stream":
        mixture.partial_fit(lambda: iter([Weighted(x, zeros)]))
    else:
        mixture.partial_fit(np.full_like(x, np.nan), sample_weight=zeros)
    assert set(before) == {name for name in vars(mixture) if name.endswith("_")}
    for name, value in before.items():
        np.testing.assert_array_equal(getattr(mixture, name), value)


def test_the_first_batch_must_have_weight():
    with pytest.raises(InputError, match="must contain at least one non-zero number, got only zeros"):
        GaussianMixture(3).partial_fit(clusters(600), sample_weight=np.zeros(600))


def test_partial_fit_continues_a_fit():
    x = clusters()
    mixture = GaussianMixture(3).fit(x)
    before = mixture.score(x)
    assert mixture.partial_fit(x).score(x) == pytest.approx(before, abs=0.01)


def test_partial_fit_refuses_what_it_cannot_do():
    mixture = GaussianMixture(3).partial_fit(clusters())
    with pytest.raises(InputError, match="X must have 3 dimensions like the mixture, got 2"):
        mixture.partial_fit(clusters()[None, :, :2])
    with pytest.raises(InputError, match="n_components must be at most 2, the number of descriptors, got 3"):
        GaussianMixture(3).partial_fit(clusters()[:2])


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("offset", [0, 1e3, 1e6])
@pytest.mark.parametrize("method", ["exact", "stepwise"])
def test_variances_of_float32_descriptors_are_never_below_the_floor(offset, method):
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(2000, 3)) * [1, 1e-3, 0] + offset).astype(np.float32)
    x[:1000] = x[0]  # a component without any spread
    mixture = GaussianMixture(4, max_iter=10, method=method).fit(x)
    assert (mixture.variances_ >= mixture.floors_).all()
    assert (mixture.floors_ > 0).all()
    assert np.isfinite(mixture.score(x))
    mixture.partial_fit(x)
    assert (mixture.variances_ >= mixture.floors_).all()


@pytest.mark.parametrize("method", ["exact", "stepwise"])
def test_the_number_of_threads_does_not_change_a_bit(method):
    x = np.concatenate([clusters(9000), clusters(9000, 5)], axis=1).astype(np.float32)
    weights = np.random.default_rng(1).random(9000)
    fitted = []
    for threads in (1, 2, 3):
        cpu.set_num_threads(threads)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                mixture = GaussianMixture(5, max_iter=5, method=method).fit(x, sample_weight=weights)
            fitted.append((mixture.means_, mixture.variances_, mixture.score(x)))
        finally:
            cpu.set_num_threads(None)
    for other in fitted[1:]:
        for a, b in zip(fitted[0], other, strict=True):
            np.testing.assert_array_equal(a, b)
