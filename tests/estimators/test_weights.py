"""Weights of descriptors in mixtures and encoders: 0 removes a descriptor, 2 equals a duplicate."""

import numpy as np
import pytest
from sklearn.base import clone

from ildfv import VLAD, BagOfWords, FisherVector, GaussianMixture, Pooling, SpatialPyramid
from ildfv.errors import InputError
from ildfv.weighted import Weighted


def clusters(n=600, d=4, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, d)) + 4 * rng.integers(0, 3, (n, 1))).astype(dtype)


def mixture(k=3, d=4):
    rng = np.random.default_rng(1)
    return GaussianMixture.from_parameters(np.full(k, 1 / k), rng.normal(size=(k, d)) * 3, np.full((k, d), 2.0))


ENCODERS = {
    "fisher": FisherVector(mixture(), improved=True),
    "fisher with weight part": FisherVector(mixture(), improved=False, weight_part=True),
    "vlad": VLAD(centres=np.random.default_rng(2).normal(size=(3, 4)) * 3),
    "words": BagOfWords(centres=np.random.default_rng(2).normal(size=(3, 4)) * 3),
    "mean": Pooling("mean"),
    "max": Pooling("max"),
}


@pytest.fixture(params=ENCODERS, ids=list(ENCODERS))
def encoder(request):
    return ENCODERS[request.param]


def weighted_maps(seed=3):
    rng = np.random.default_rng(seed)
    return clusters(3 * 50, seed=seed).reshape(3, 50, 4), rng.integers(0, 3, (3, 50)).astype(float)


def test_a_weight_of_0_removes_a_descriptor_whatever_it_contains(encoder):
    x, w = weighted_maps()
    w = np.minimum(w, 1)
    spoilt = np.where(w[..., None] > 0, x, np.nan)
    kept = [one[keep > 0] for one, keep in zip(x, w, strict=True)]
    np.testing.assert_allclose(encoder.transform(spoilt, weights=w), encoder.transform(kept), atol=1e-12)


def test_an_integer_weight_equals_duplicates(encoder):
    x, w = weighted_maps()
    repeated = [np.repeat(one, n.astype(int), axis=0) for one, n in zip(x, w, strict=True)]
    np.testing.assert_allclose(encoder.transform(x, weights=w), encoder.transform(repeated), atol=1e-12)


def test_lists_channel_first_maps_and_weighted_maps_give_the_same(encoder):
    x, w = weighted_maps()
    expected = encoder.transform(x, weights=w)
    images = np.moveaxis(x, 2, 1).reshape(3, 4, 5, 10)
    np.testing.assert_allclose(encoder.transform(list(x), weights=list(w)), expected, atol=1e-12)
    np.testing.assert_allclose(encoder.transform(images, weights=w), expected, atol=1e-12)
    np.testing.assert_allclose(encoder.transform(Weighted(x, w)), expected, atol=1e-12)


def test_a_map_whose_weights_are_all_0_has_the_zero_vector(encoder):
    x, w = weighted_maps()
    w[1] = 0
    found = encoder.transform(x, weights=w)
    assert not found[1].any()
    assert found[0].any()
    assert np.isfinite(found).all()


def test_torch_maps_keep_their_library(encoder):
    torch = pytest.importorskip("torch")
    x, w = weighted_maps()
    found = encoder.transform(torch.from_numpy(x), weights=torch.from_numpy(w))
    assert isinstance(found, torch.Tensor)
    np.testing.assert_allclose(found.numpy(), encoder.transform(x, weights=w), atol=1e-12)


@pytest.mark.parametrize("bad", [np.full((3, 50), np.nan), np.full((3, 50), -1.0), np.ones((3, 49)), np.ones((2, 50))])
def test_weights_that_break_a_rule_are_refused(encoder, bad):
    with pytest.raises(InputError, match="weights must"):
        encoder.transform(weighted_maps()[0], weights=bad)


def test_flat_pooling_has_no_weights():
    x, w = weighted_maps()
    with pytest.raises(InputError, match='weights must be omitted with method "flat"'):
        Pooling("flat").transform(x, weights=w)


def test_the_cells_of_a_pyramid_use_their_own_weights():
    x, w = weighted_maps()
    images, grid = np.moveaxis(x, 2, 1).reshape(3, 4, 5, 10), w.reshape(3, 5, 10)
    found = SpatialPyramid(Pooling("mean"), grids=(1, 2)).fit(images).transform(images, weights=w)
    upper_left = Pooling("mean").transform(images[:, :, :2, :5], weights=grid[:, :2, :5].reshape(3, -1))
    np.testing.assert_allclose(found[:, 4:8], upper_left, atol=1e-12)


@pytest.mark.parametrize("method", ["exact", "stepwise"])
def test_a_mixture_ignores_descriptors_of_weight_0(method):
    x = clusters(900)
    far = clusters(900, seed=7) + 50
    both, w = np.concatenate([x, far]), np.repeat([1.0, 0.0], 900)
    fitted = GaussianMixture(3, method=method, max_iter=20, tol=1e-3).fit(both, sample_weight=w)
    assert fitted.means_.max() < 20
    assert fitted.score(both, sample_weight=w) == pytest.approx(fitted.score(x), rel=1e-12)
    plain = GaussianMixture(3, method=method, max_iter=20, tol=1e-3).fit(x)
    assert fitted.score(x) == pytest.approx(plain.score(x), abs=0.02)


@pytest.mark.filterwarnings("ignore:EM has not converged")
def test_weights_of_a_mixture_equal_duplicates():
    x = clusters(300)
    times = np.random.default_rng(0).integers(1, 4, 300)
    start = {"weights_init": [0.3, 0.3, 0.4], "means_init": x[[0, 1, 2]], "variances_init": np.ones((3, 4))}
    recipe = GaussianMixture(3, max_iter=5, tol=0, **start)
    weighted = recipe.fit(x, sample_weight=times)
    found = {name: getattr(weighted, name).copy() for name in ("weights_", "means_", "variances_")}
    floors = weighted.floors_
    repeated = GaussianMixture(3, max_iter=5, tol=0, **start).fit(np.repeat(x, times, axis=0))
    np.testing.assert_allclose(floors, repeated.floors_)
    for name, value in found.items():
        np.testing.assert_allclose(value, getattr(repeated, name), rtol=1e-9)


def test_a_stream_of_weighted_batches_equals_the_array():
    x = clusters(400).reshape(4, 100, 4)
    w = np.random.default_rng(5).random((4, 100))
    options = {"weights_init": [0.5, 0.5], "means_init": x[0, :2], "variances_init": np.ones((2, 4)), "max_iter": 3}
    whole = GaussianMixture(2, **options).fit(x, sample_weight=w)
    stream = GaussianMixture(2, **options).fit(lambda: (Weighted(x[i : i + 1], w[i : i + 1]) for i in range(4)))
    np.testing.assert_allclose(whole.means_, stream.means_, rtol=1e-10)


def test_a_sample_is_drawn_in_proportion_to_weights():
    from ildfv.estimators.batches import Batches

    x = np.repeat(np.arange(4.0), 5000)[:, None]
    w = np.repeat([0.0, 1.0, 1.0, 8.0], 5000)
    sample = Batches(Weighted(x, w)).sample(1000, seed=0)[:, 0]
    shares = [(sample == i).mean() for i in range(4)]
    assert shares[0] == 0
    assert shares[3] == pytest.approx(0.8, abs=0.05)


def test_sample_weight_of_a_stream_is_refused_with_the_remedy():
    x = clusters(100)
    with pytest.raises(InputError, match=r"let the stream yield ildfv\.weighted\.Weighted"):
        GaussianMixture(2).fit(lambda: iter([x]), sample_weight=np.ones(100))


def test_a_list_of_weighted_batches_equals_one_weighted_array():
    x, weights = np.random.default_rng(0).normal(size=(300, 3)), np.random.default_rng(1).random(300)
    parts = [Weighted(x[:100], weights[:100]), Weighted(x[100:], weights[100:])]
    one, two = (GaussianMixture(2, random_state=0).fit(data) for data in (Weighted(x, weights), parts))
    np.testing.assert_allclose(two.means_, one.means_, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:EM has not converged")
@pytest.mark.parametrize("method", ["exact", "stepwise"])
@pytest.mark.parametrize("many", [False, True])
def test_weights_with_sum_1_give_the_mixture_of_proportional_weights(method, many):
    x, w = clusters(900), np.random.default_rng(0).random(900) + 0.5
    data = (lambda w: [Weighted(x[:400], w[:400]), Weighted(x[400:], w[400:])]) if many else (lambda w: Weighted(x, w))
    recipe = GaussianMixture(3, method=method, max_iter=3, tol=0)
    one, other = (clone(recipe).fit(data(weights)) for weights in (w / w.sum(), w / w.mean()))
    np.testing.assert_allclose(one.means_, other.means_, rtol=1e-9)
    np.testing.assert_allclose(one.weights_, other.weights_, rtol=1e-9)
    assert one.score(data(w / w.sum())) == pytest.approx(other.score(data(w)), rel=1e-12)


def test_the_message_about_too_small_weights_of_a_stream_states_the_remedy():
    x, w = clusters(100), np.full(100, 0.01)
    with pytest.raises(
        InputError, match="at most 1, the sum of the weights, got 2: multiply the weights by a constant"
    ):
        GaussianMixture(2).fit(lambda: iter([Weighted(x, w)]))


def test_too_few_descriptors_without_weights_can_be_remedied_by_fewer_components():
    start = {"weights_init": [0.5, 0.5], "means_init": np.zeros((2, 3)), "variances_init": np.ones((2, 3))}
    with pytest.raises(
        InputError, match=r"at most 1, the number of descriptors .*, got 2: reduce n_components or multiply"
    ):
        GaussianMixture(2, **start).fit(np.ones((1, 3)))


@pytest.mark.parametrize("kind", ["array", "list", "stream"])
def test_scores_of_descriptors_without_weight_are_refused_with_the_remedy(kind):
    x, w = clusters(100), np.zeros(100)
    data = {"array": Weighted(x, w), "list": [Weighted(x, w)], "stream": lambda: iter([Weighted(x, w)])}[kind]
    with pytest.raises(InputError, match=r"got (none: omit this call|only zeros: omit these descriptors)"):
        mixture().score(data)


@pytest.mark.parametrize("kind", [VLAD, BagOfWords])
def test_a_codebook_uses_weights_as_duplicates(kind):
    x, times = clusters(600), np.random.default_rng(0).integers(0, 4, 600)
    weighted = kind(5).fit(x, sample_weight=times)
    repeated = kind(5).fit(np.repeat(x, times, axis=0))
    np.testing.assert_allclose(weighted.centres_, repeated.centres_, rtol=1e-9)
    np.testing.assert_allclose(weighted.scale_, repeated.scale_, rtol=1e-9)
    relative = kind(5).fit(x, sample_weight=times / times.sum())
    np.testing.assert_allclose(relative.centres_, weighted.centres_, rtol=1e-9)
    plain = kind(5).fit(x)
    assert not np.allclose(plain.scale_, weighted.scale_, rtol=1e-6)
