"""FisherVector: formulas, agreement with scikit-image and VLFeat, orders, invariances, invalid input."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.feature import fisher_vector
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture as PeerMixture
from sklearn.pipeline import make_pipeline

from ildfv.errors import InputError
from ildfv.estimators.fisher import FisherVector, negate_sigma_part
from ildfv.estimators.mixture import GaussianMixture
from ildfv.estimators.pca import PCA

B, N, D, K = 3, 60, 6, 4


def maps(seed=0, b=B, n=N, d=D):
    return np.random.default_rng(seed).normal(size=(b, n, d))


def mixture(seed=1, k=K, d=D):
    random = np.random.default_rng(seed)
    weights = random.dirichlet(np.full(k, 5.0))
    return GaussianMixture.from_parameters(weights, random.normal(size=(k, d)), random.uniform(0.5, 2, size=(k, d)))


def as_sklearn(m):
    peer = PeerMixture(len(m.weights_), covariance_type="diag")
    peer.weights_, peer.means_, peer.covariances_ = m.weights_, m.means_, m.variances_
    peer.precisions_cholesky_ = 1 / np.sqrt(m.variances_)
    return peer


def test_values_equal_the_formulas():
    x, m = maps(), mixture()
    gamma = np.stack([m.predict_proba(x_i) for x_i in x])  # (b, n, k)
    t = (x[:, :, None] - m.means_) / np.sqrt(m.variances_)  # (b, n, k, d)
    u = np.einsum("bnk,bnkd->bkd", gamma, t) / (N * np.sqrt(m.weights_)[:, None])
    v = np.einsum("bnk,bnkd->bkd", gamma, t**2 - 1) / (N * np.sqrt(2 * m.weights_)[:, None])
    found = FisherVector(m, improved=False, threshold=0).transform(x).reshape(B, K, 2, D)
    np.testing.assert_allclose(found[:, :, 0], u, atol=1e-12)
    np.testing.assert_allclose(found[:, :, 1], v, atol=1e-12)


@pytest.mark.parametrize("improved", [False, True])
def test_values_equal_scikit_images(improved):
    x, m = maps(), mixture()
    found = FisherVector(m, improved=improved, order="moment", weight_part=True, threshold=0).transform(x)
    expected = np.stack([fisher_vector(x_i, as_sklearn(m), improved=improved) for x_i in x])
    expected[:, K + K * D :] *= -1  # scikit-image's derivative by the variances has the other sign
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("improved", [False, True])
def test_values_equal_vlfeats(improved):
    fisher = pytest.importorskip("cyvlfeat.fisher", reason="cyvlfeat (needs libvlfeat-dev) is not installed")
    x, m = maps().astype(np.float32), mixture()
    # Contrary to its documentation, cyvlfeat expects one row per component and descriptor.
    parameters = [a.astype(np.float32) for a in (m.means_, m.variances_, m.weights_)]
    expected = np.stack([fisher.fisher(x_i, *parameters, improved=improved) for x_i in x])
    found = FisherVector(m, improved=improved, order="moment").transform(x)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("weight_part", [False, True])
def test_both_orders_hold_the_same_named_values(weight_part):
    x, m = maps(), mixture()
    both = [FisherVector(m, improved=False, order=order, weight_part=weight_part) for order in ("component", "moment")]
    by_name = [dict(zip(f.get_feature_names_out(), f.transform(x).T.tolist(), strict=True)) for f in both]
    assert by_name[0] == by_name[1]
    names = list(both[0].get_feature_names_out())
    assert names.index("v_0_0") < names.index("u_1_0")  # Eq. 4: u_1, v_1, u_2, …
    names = list(both[1].get_feature_names_out())
    assert names.index("v_0_0") > names.index(f"u_{K - 1}_{D - 1}")
    assert len(names) == 2 * K * D + (K if weight_part else 0)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_layouts_and_libraries_agree(dtype):
    x, m = maps().astype(dtype), mixture()
    fisher = FisherVector(m)
    expected = fisher.transform(x)
    assert str(expected.dtype) == ("float64" if dtype == "float64" else "float32")
    first = np.ascontiguousarray(x.transpose(0, 2, 1).reshape(B, D, 6, 10))
    np.testing.assert_allclose(fisher.transform(first), expected, atol=1e-6)
    np.testing.assert_allclose(fisher.transform(list(x)), expected, atol=1e-6)
    for given_ in (torch.from_numpy(x), [torch.from_numpy(x_i) for x_i in x], torch.from_numpy(first)):
        found = fisher.transform(given_)
        assert isinstance(found, torch.Tensor)
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


def test_maps_of_different_sizes_are_normalised_separately():
    m, sizes = mixture(), (60, 7, 1)
    ragged = [maps(n=n)[0] for n in sizes]
    found = FisherVector(m).transform(ragged)
    for i, x in enumerate(ragged):
        np.testing.assert_allclose(found[i], FisherVector(m).transform(x[None])[0], atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_order_and_repetition_of_descriptors_do_not_matter(seed):
    x, m = maps(), mixture()
    shuffled = x[:, np.random.default_rng(seed).permutation(N)]
    fisher = FisherVector(m)
    np.testing.assert_allclose(fisher.transform(shuffled), fisher.transform(x), atol=1e-10)
    np.testing.assert_allclose(fisher.transform(np.concatenate([x, shuffled], axis=1)), fisher.transform(x), atol=1e-10)


@settings(max_examples=20, deadline=None)
@given(scale=st.floats(1e-3, 1e3), shift=st.floats(-100, 100))
def test_units_of_the_descriptors_do_not_matter(scale, shift):
    x, m = maps(), mixture()
    moved = GaussianMixture.from_parameters(m.weights_, m.means_ * scale + shift, m.variances_ * scale**2)
    np.testing.assert_allclose(
        FisherVector(moved).transform(x * scale + shift), FisherVector(m).transform(x), atol=1e-7
    )


def test_descriptors_of_the_mixture_itself_give_nearly_zero():
    m = mixture()
    x, _ = m.sample(200_000)
    assert np.abs(FisherVector(m, improved=False, weight_part=True).transform(x[None])).max() < 0.02


def test_improved_vectors_have_unit_length_and_zero_stays_zero():
    m = mixture()
    np.testing.assert_allclose(np.linalg.norm(FisherVector(m).transform(maps()), axis=1), 1)
    one = GaussianMixture.from_parameters([1.0], [[0.0]], [[1.0]])
    balanced = np.array([[[-1.0], [1.0]]])  # with mean 0 and variance 1 the gradient of the mixture is 0
    np.testing.assert_array_equal(FisherVector(one).transform(balanced), [[0.0, 0.0]])


def test_components_without_weight_give_zeros_as_in_vlfeat():
    m = mixture()
    light = GaussianMixture.from_parameters([0.5, 0.5 - 1e-8, 1e-8, 0.0], m.means_, m.variances_)
    found = FisherVector(light, improved=False, threshold=0).transform(maps()).reshape(B, K, -1)
    assert (found[:, 2:] == 0).all()
    assert (found[:, :2] != 0).all()


def test_a_pipeline_fits_the_mixture():
    x = np.concatenate([maps(0, b=20), maps(1, b=20) * [1, 2, 1, 1, 0.5, 1]])
    y = np.repeat([0, 1], 20)
    pipeline = make_pipeline(FisherVector(n_components=3), PCA(5), LogisticRegression())
    assert clone(pipeline).fit(x, y).score(x, y) == 1.0
    assert clone(pipeline).fit(list(x), y).score(list(x), y) == 1.0
    given_ = clone(FisherVector(mixture())).fit(x)
    np.testing.assert_array_equal(given_.mixture_.means_, mixture().means_)
    recipe = FisherVector(GaussianMixture(2, max_iter=2, tol=np.inf)).fit(x)
    assert recipe.mixture_.means_.shape == (2, D)
    assert not hasattr(recipe.mixture, "weights_")


def test_a_restored_encoder_gives_the_same_vectors():
    fisher = FisherVector(n_components=2, order="moment", weight_part=True).fit(maps())
    again = FisherVector.from_tensors(fisher.to_tensors(), fisher.info())
    np.testing.assert_array_equal(again.transform(maps()), fisher.transform(maps()))


BAD = {
    'order must be "component" or "moment", got \'x\'': lambda: FisherVector(mixture(), order="x").transform(maps()),
    "(b, d, h, w) or a list of (n_i, d) or (d, h_i, w_i), got shape (60, 6)": lambda: FisherVector(mixture()).transform(
        maps()[0]
    ),
    "maps must contain at least one map, got none": lambda: FisherVector(mixture()).transform([]),
    "maps[1] must contain at least one descriptor": lambda: FisherVector(mixture()).transform(
        [maps()[0], maps()[0, :0]]
    ),
    "maps[0] must be an array of shape (n, d)": lambda: FisherVector(mixture()).transform([np.zeros(6)]),
    "6 dimensions like the mixture, got 5": lambda: FisherVector(mixture()).transform(maps(d=5)),
    "got NaN or infinity in map 2": lambda: FisherVector(mixture()).transform(with_nan()),
    "call fit first": lambda: FisherVector().transform(maps()),
}


def with_nan():
    x = maps()
    x[2, 5, 1] = np.nan
    return x


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_an_error_with_rule_and_value(message):
    with pytest.raises(ValueError) as error:
        BAD[message]()
    assert message in str(error.value)
    assert isinstance(error.value, InputError) or "fit" in message


def test_mixtures_of_other_packages_are_refused_with_a_remedy():
    with pytest.raises(InputError, match=r"got sklearn\.mixture.*pass GaussianMixture.from_parameters"):
        FisherVector(PeerMixture(2)).fit(np.ones((4, 3, 2)))


def test_a_mixture_of_another_class_encodes_but_is_not_saved():
    own = mixture()
    other = SimpleNamespace(weights_=own.weights_, means_=own.means_, variances_=own.variances_)
    fisher = FisherVector(other)
    np.testing.assert_array_equal(fisher.transform(maps()), FisherVector(own).transform(maps()))
    for save in (fisher.to_tensors, fisher.info):
        with pytest.raises(InputError, match=r"to be saved, got types\.SimpleNamespace: pass .*from_parameters"):
            save()


def test_integer_descriptors_are_encoded_as_floats():
    x = np.random.default_rng(0).integers(-50, 50, size=(4, 60, 3)).astype(np.int32)
    fisher = FisherVector(n_components=2).fit(x)
    np.testing.assert_allclose(fisher.transform(x), FisherVector(n_components=2).fit(x * 1.0).transform(x * 1.0))
    with pytest.raises(InputError, match="real numbers, got dtype complex"):
        fisher.transform(x + 0j)


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_lists_of_channel_first_maps_of_unequal_size_are_encoded(kind):
    random = np.random.default_rng(0)
    maps = [random.normal(size=(D, h, w)) for h, w in ((4, 5), (7, 3), (10, 10))]
    rows = [one.reshape(D, -1).T for one in maps]
    found, expected = (
        FisherVector(n_components=3).fit([kind(one) for one in maps]),
        FisherVector(n_components=3).fit(rows),
    )
    np.testing.assert_allclose(found.mixture_.means_, expected.mixture_.means_, atol=1e-9)
    np.testing.assert_allclose(
        np.asarray(found.transform([kind(one) for one in maps])), expected.transform(rows), atol=1e-9
    )


def test_transform_warns_that_gradients_are_lost():
    x = torch.from_numpy(maps())
    fisher = FisherVector(mixture())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fisher.transform(x)
    for given_ in (x.clone().requires_grad_(), list(x.clone().requires_grad_())):
        with pytest.warns(UserWarning, match="does not propagate gradients"):
            fisher.transform(given_)


@pytest.mark.parametrize("improved", [False, True])
def test_the_sigma_part_is_converted_to_scikit_images_sign_and_back(improved):
    x, m = maps(), mixture()
    found = FisherVector(m, improved=improved, order="moment", weight_part=True, threshold=0).transform(x)
    peer = np.stack([fisher_vector(x_i, as_sklearn(m), improved=improved) for x_i in x])
    np.testing.assert_allclose(negate_sigma_part(found, K), peer, atol=1e-5)
    np.testing.assert_array_equal(negate_sigma_part(negate_sigma_part(found, K), K), found)
    with pytest.raises(InputError, match=r"must have shape \(b, 2·k·d \+ k\)"):
        negate_sigma_part(found[:, :-1], K)
