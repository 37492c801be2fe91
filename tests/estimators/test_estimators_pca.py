"""PCA: agreement with scikit-learn, streams, Krylov passes for many features, invalid input."""

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA as Peer
from sklearn.utils.estimator_checks import parametrize_with_checks

from ildfv.errors import InputError
from ildfv.estimators import pca_model as home
from ildfv.estimators.covariance import CovarianceSums, ProductSums
from ildfv.estimators.krylov import leading_eigenvectors
from ildfv.estimators.pca import PCA


def rows(n=300, d=40, seed=0, offset=0.0):
    random = np.random.default_rng(seed)
    return random.normal(size=(n, d)) @ random.normal(size=(d, d)) + offset


@pytest.mark.filterwarnings("ignore:Skipping check:sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks([PCA(1)])
def test_scikit_learn_accepts_pca(estimator, check):
    check(estimator)


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("c", [1, 7, None])
def test_components_variances_and_projections_equal_scikit_learns(c, whiten, offset):
    x = rows(offset=offset)
    ours, peer = PCA(c, whiten=whiten).fit(x), Peer(c, whiten=whiten, svd_solver="full").fit(x)
    np.testing.assert_allclose(ours.components_, peer.components_, atol=1e-6)
    np.testing.assert_allclose(ours.explained_variance_, peer.explained_variance_, rtol=1e-6)
    np.testing.assert_allclose(ours.explained_variance_ratio_, peer.explained_variance_ratio_, rtol=1e-6)
    np.testing.assert_allclose(ours.singular_values_, peer.singular_values_, rtol=1e-6)
    np.testing.assert_allclose(ours.transform(x), peer.transform(x), atol=1e-5)
    np.testing.assert_allclose(ours.inverse_transform(ours.transform(x)), peer.inverse_transform(peer.transform(x)))


def test_streams_and_torch_tensors_equal_the_array():
    x = rows()
    expected = PCA(5).fit(x)
    for form in ([x[:7], x[7:]], lambda: (part for part in np.array_split(x, 9)), torch.from_numpy(x)):
        found = PCA(5).fit(form)
        np.testing.assert_allclose(found.components_, expected.components_, atol=1e-10)
        assert found.n_samples_ == len(x)
    projected = expected.transform(torch.from_numpy(x.astype(np.float32)))
    assert isinstance(projected, torch.Tensor)
    assert projected.dtype == torch.float32
    np.testing.assert_allclose(projected.numpy(), expected.transform(x), atol=1e-3)


@settings(max_examples=20, deadline=None)
@given(cut=st.integers(1, 299), centred=st.booleans())
def test_two_half_streams_merged_equal_the_whole(cut, centred):
    x = rows()
    centre = x[0] if centred else None
    whole = CovarianceSums(40, centre=centre).update(x)
    halves = CovarianceSums(40, centre=centre).update(x[:cut]).merge(CovarianceSums(40, centre=centre).update(x[cut:]))
    again = CovarianceSums.from_state(halves.state(), 40, centre=centre)
    for a, b in zip(whole.finish(), again.finish(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(whole.finish()[2], np.cov(x.T), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(PCA(3).fit_sums(again).components_, PCA(3).fit(x).components_, atol=1e-9)


def test_products_with_the_covariance_equal_those_of_the_explicit_matrix():
    x, directions = rows(offset=5.0), np.random.default_rng(1).normal(size=(40, 3))
    n, mean, total, image = ProductSums(directions, centre=np.full(40, 4.0)).update(x[:99]).update(x[99:]).finish()
    covariance = np.cov(x.T)
    assert n == len(x)
    assert total == pytest.approx(np.trace(covariance))
    np.testing.assert_allclose(mean, x.mean(axis=0))
    np.testing.assert_allclose(image, covariance @ directions)


@pytest.mark.parametrize(("passes", "captured"), [(2, 0.990), (4, 0.995), (6, 0.998)])
def test_krylov_captures_nearly_all_of_the_variance(passes, captured):
    values = np.arange(1, 1501) ** -1.5  # spectra of Fisher vectors decay at least as slowly
    found, components = leading_eigenvectors(
        lambda b: values[:, None] * b, 1500, 40, n_passes=passes, basis_size=80, seed=0
    )
    assert (components.astype(float) ** 2 @ values).sum() > captured * values[:40].sum()
    assert (found <= values[:40] * (1 + 1e-5)).all()
    np.testing.assert_allclose(components @ components.T, np.eye(40), atol=1e-5)


def test_krylov_is_exact_if_the_basis_spans_the_range():
    values = np.append(np.linspace(5, 1, 12), np.zeros(488))
    found, components = leading_eigenvectors(lambda b: values[:, None] * b, 500, 20, n_passes=3, basis_size=30, seed=0)
    np.testing.assert_allclose(found[:12], values[:12], rtol=1e-5)
    np.testing.assert_allclose(found[12:], 0, atol=1e-5)
    np.testing.assert_allclose(np.abs(components[:12, :12]), np.eye(12), atol=1e-3)


@pytest.mark.parametrize("form", ["stream", "array"])
def test_many_features_agree_with_scikit_learn(form, monkeypatch):
    monkeypatch.setattr(home, "EXACT", 100)
    scales = 0.8 ** np.arange(150)
    x = np.random.default_rng(0).normal(size=(400 if form == "stream" else 80, 150)) * scales + 3
    ours = PCA(5, n_passes=6).fit([x[:111], x[111:]] if form == "stream" else x)
    peer = Peer(5, svd_solver="full").fit(x)
    np.testing.assert_allclose(ours.explained_variance_, peer.explained_variance_, rtol=1e-3)
    np.testing.assert_allclose(ours.explained_variance_ratio_, peer.explained_variance_ratio_, rtol=1e-3)
    np.testing.assert_allclose(ours.components_, peer.components_, atol=0.02)
    assert ours.components_.dtype == np.float32
    np.testing.assert_allclose(ours.mean_, peer.mean_)


def test_all_components_of_few_rows_are_orthonormal(monkeypatch):
    monkeypatch.setattr(home, "EXACT", 50)
    ours = PCA(20).fit(rows(20, 80))
    np.testing.assert_allclose(ours.components_ @ ours.components_.T, np.eye(20), atol=1e-5)
    assert ours.explained_variance_[-1] == pytest.approx(0, abs=1e-9)


def test_sums_reduced_over_ranks_are_used(monkeypatch):
    x = rows()
    twice = PCA(3, reduce=lambda state: {name: 2 * value for name, value in state.items()}).fit(x)
    np.testing.assert_allclose(twice.components_, PCA(3).fit(np.concatenate([x, x])).components_, atol=1e-9)
    assert twice.n_samples_ == 2 * len(x)


def test_largest_entry_of_each_component_is_positive():
    components = PCA(10).fit(rows()).components_
    assert (components[np.arange(10), np.abs(components).argmax(axis=1)] > 0).all()


def test_whitened_projections_have_unit_variance():
    z = PCA(5, whiten=True).fit_transform(rows())
    np.testing.assert_allclose(np.cov(z.T), np.eye(5), atol=1e-9)
    assert np.isfinite(PCA(3, whiten=True).fit_transform(np.ones((10, 4)))).all()


def test_a_restored_pca_gives_the_same_projections():
    x = rows()
    fitted = PCA(4, whiten=True).fit(x)
    again = PCA.from_tensors(fitted.to_tensors(), fitted.info())
    np.testing.assert_array_equal(again.transform(x), fitted.transform(x))


def test_other_libraries_of_the_array_api_work():
    xp = pytest.importorskip("array_api_strict", reason="array-api-strict is not installed")
    x = rows()
    expected = PCA(4).fit(x)
    given_ = xp.asarray(x)
    found = PCA(4).fit(given_)
    np.testing.assert_allclose(found.components_, expected.components_, atol=1e-10)
    assert type(found.transform(given_)) is type(given_)


BAD = {
    "n_components must be at least 1, got 0": lambda: PCA(0).fit(rows()),
    "n_passes must be at least 2, got 1": lambda: PCA(1, n_passes=1).fit(rows()),
    "batch 1 of X must be finite, got NaN in row 3": lambda: PCA().fit([rows(), np.diag([1, 1, 1, np.nan] + 36 * [1])]),
    "batch 0 of X must have shape (m, d), got (1, 300, 40)": lambda: PCA(1).fit([rows()[None]]),
    "X must contain at least one batch, got none": lambda: PCA(1).fit(lambda: iter(())),
    "sums must have shapes": lambda: CovarianceSums(3).merge(CovarianceSums(4)),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_an_error_with_rule_and_value(message):
    with pytest.raises(InputError) as error:
        BAD[message]()
    assert message in str(error.value)


@pytest.mark.parametrize("offset", [1e3, 1e5])
def test_float32_rows_far_from_zero_are_projected_without_shift(offset):
    random = np.random.default_rng(0)
    x = (random.normal(size=(500, 30)) + offset + random.random(30)).astype(np.float32)
    pca = PCA(5).fit(x)
    np.testing.assert_allclose(pca.transform(x), pca.transform(x.astype(np.float64)), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("d", [300, 5000])
def test_whitening_does_not_amplify_rounding_errors_in_float32(d):
    random = np.random.default_rng(0)
    x = (random.normal(size=(300, 5)) @ np.linalg.qr(random.normal(size=(d, 5)))[0].T).astype(np.float32)
    pca = PCA(20, whiten=True).fit(lambda: (x[i : i + 100] for i in range(0, 300, 100)))
    spread = pca.transform(x).std(axis=0, ddof=1)
    np.testing.assert_allclose(spread[:5], 1, rtol=1e-3)
    assert spread[5:].max() < 0.3


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_whitened_projections_of_constant_rows_are_zero(dtype):
    x = np.full((50, 5), 3, dtype)
    np.testing.assert_array_equal(PCA(2, whiten=True).fit(x).transform(x), 0)


@pytest.mark.parametrize("d", [40, 150])
@pytest.mark.parametrize("form", ["array", "stream"])
def test_more_components_than_rows_give_a_warning_and_as_many_as_possible(form, d, monkeypatch):
    monkeypatch.setattr(home, "EXACT", 100)
    x = rows(30, d)
    message = f"n_components must be at most 30 for 30 rows of {d} features, got 35: 30 are used"
    with pytest.warns(UserWarning, match=message):
        pca = PCA(35).fit(x if form == "array" else [x[:11], x[11:]])
    assert pca.components_.shape == (30, d)
    np.testing.assert_allclose(pca.explained_variance_[:29], Peer(29).fit(x).explained_variance_, rtol=1e-3)


def test_transform_accepts_what_fit_accepts(tmp_path):
    x = rows()
    pca = PCA(5).fit(x)
    expected = pca.transform(x)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        stored = file.create_dataset("x", data=x, chunks=(64, x.shape[1]))
        for form in ([x[:7], x[7:]], lambda: iter(np.array_split(x, 9)), stored, x.tolist()):
            np.testing.assert_allclose(pca.transform(form), expected, atol=1e-9)
    assert isinstance(pca.transform([torch.from_numpy(x)]), torch.Tensor)
    with pytest.raises(InputError, match="batch 1 of X must have 40 features"):
        pca.transform([x, x[:, :3]])
    with pytest.raises(ValueError, match="X has 3 features"):
        pca.transform([x[:, :3]])
