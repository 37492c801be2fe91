"""scikit-learn conventions beyond its own estimator checks: maps, pickles, grid search, merged sums."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.decomposition import PCA as Peer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils.estimator_checks import check_estimator

from ildfv import PCA, FisherVector, GaussianMixture, MultivariateRegression
from ildfv.estimators import pca_model as home
from ildfv.estimators.bag_of_words import BagOfWords
from ildfv.estimators.covariance import ProductSums
from ildfv.estimators.em import MixtureSums
from ildfv.estimators.pyramid import SpatialPyramid
from ildfv.estimators.start import start
from ildfv.estimators.union import LayerUnion
from ildfv.estimators.vlad import VLAD


def maps(seed=0, b=12, n=30, d=4):
    return np.random.default_rng(seed).normal(size=(b, n, d))


@pytest.mark.filterwarnings("ignore:Can't test estimator:UserWarning")
def test_scikit_learn_accepts_the_fisher_vector_for_maps():
    check_estimator(FisherVector())
    assert FisherVector().__sklearn_tags__().input_tags.three_d_array


def test_fisher_vectors_of_maps_follow_scikit_learn_conventions():
    x, fisher = maps(), FisherVector(n_components=3, random_state=1)
    before = x.copy()
    first = clone(fisher).fit_transform(x)
    fitted = fisher.fit(x)
    vectors = fitted.transform(x)
    np.testing.assert_array_equal(first, vectors)  # fit is repeatable, and fit_transform is fit and transform
    np.testing.assert_array_equal(fisher.fit(x).transform(x), vectors)
    np.testing.assert_array_equal(x, before)
    assert fitted.n_features_in_ == 4
    assert len(fitted.get_feature_names_out()) == vectors.shape[1]
    order = np.random.default_rng(0).permutation(len(x))
    np.testing.assert_array_equal(fitted.transform(x[order]), vectors[order])
    np.testing.assert_array_equal(np.concatenate([fitted.transform(x[i : i + 1]) for i in range(len(x))]), vectors)
    np.testing.assert_array_equal(fitted.transform(np.asfortranarray(x)), vectors)
    assert fisher.set_params(**fisher.get_params()) is fisher


@pytest.mark.parametrize(
    ("transformer", "x"),
    [
        (PCA(2), maps()[0]),
        (FisherVector(n_components=2), maps()),
        (VLAD(2), maps()),
        (BagOfWords(2), maps()),
        (SpatialPyramid(BagOfWords(2)), maps().reshape(12, 4, 5, 6)),
        (SpatialPyramid(BagOfWords(2)), list(maps().reshape(12, 4, 5, 6))),
        (LayerUnion(BagOfWords(2)), {"one": maps(), "two": maps(1)}),
    ],
    ids=lambda one: type(one).__name__,
)
def test_transformers_return_data_frames_after_set_output(transformer, x):
    pandas = pytest.importorskip("pandas")
    found = transformer.set_output(transform="pandas").fit(x).transform(x)
    assert isinstance(found, pandas.DataFrame)
    assert list(found.columns) == list(transformer.get_feature_names_out())
    np.testing.assert_array_equal(found, transformer.set_output(transform="default").transform(x))


@pytest.mark.parametrize(
    "fitted",
    [
        GaussianMixture(2, max_iter=3, tol=np.inf).fit(maps()[0]),
        FisherVector(n_components=2).fit(maps()),
        PCA(2, whiten=True).fit(maps()[0]),
        MultivariateRegression().fit(maps()[0], maps(1)[0, :, :2]),
    ],
    ids=lambda fitted: type(fitted).__name__,
)
def test_unpickled_estimators_give_the_same_output(fitted):
    again = pickle.loads(pickle.dumps(fitted))
    x = maps(2) if isinstance(fitted, FisherVector) else maps(2)[0]
    use = fitted.predict if hasattr(fitted, "predict") else fitted.transform
    use_again = again.predict if hasattr(again, "predict") else again.transform
    np.testing.assert_array_equal(use_again(x), use(x))


def test_grid_search_over_a_pipeline_finds_the_better_settings():
    x = np.concatenate([maps(0, b=20), maps(1, b=20) * [1, 2, 1, 0.5]])
    y = np.repeat([0, 1], 20)
    steps = [("fisher", FisherVector(n_components=2)), ("pca", PCA(2)), ("model", LogisticRegression())]
    search = GridSearchCV(Pipeline(steps), {"fisher__n_components": [1, 2], "pca__n_components": [1, 3]}, cv=3)
    search.fit(x, y)
    assert search.best_score_ > 0.9
    mixtures = GridSearchCV(GaussianMixture(max_iter=50), {"n_components": [1, 4]}, cv=3)
    centres = np.array([[-5.0, 0], [5, 0], [0, 5], [0, -5]])
    mixtures.fit(np.tile(centres, (30, 1)) + np.random.default_rng(0).normal(size=(120, 2)))
    assert mixtures.best_params_ == {"n_components": 4}


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(1, 359), max_size=4, unique=True), dtype=st.sampled_from(["f4", "f8", "f2"]))
def test_parts_of_a_stream_merged_equal_the_whole_mixture(cuts, dtype):
    x = maps().reshape(-1, 4).astype(dtype)
    at = start(x.astype(float), 3)
    merged = MixtureSums(at)
    for part in np.split(x, sorted(cuts)):
        merged.merge(MixtureSums(at).update(part))
    whole = MixtureSums(at).update(x)
    for one, other in zip(merged.finish().__dict__.values(), whole.finish().__dict__.values(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert merged.mean_log_likelihood == pytest.approx(whole.mean_log_likelihood, rel=1e-6)


@settings(max_examples=20, deadline=None)
@given(cut=st.integers(1, 359))
def test_parts_of_a_stream_merged_equal_the_whole_product(cut):
    x, directions = maps().reshape(-1, 4), np.eye(4)[:, :2]

    def sums():
        return ProductSums(directions, centre=np.ones(4))

    whole, halves = sums().update(x), sums().update(x[:cut]).merge(sums().update(x[cut:]))
    for a, b in zip(whole.finish(), halves.finish(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


SPECTRA = {
    "0.9^i": 0.9 ** np.arange(300),
    "1/i": 1 / np.arange(1, 301),
    "1/√i": np.arange(1, 301) ** -0.5,
    "i^-¼": np.arange(1, 301) ** -0.25,  # scikit-learn's randomised solver: variances 1 % off, cosine 0.96
}


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_krylov_finds_scikit_learns_subspace_of_slowly_decaying_spectra(name, offset, monkeypatch):
    monkeypatch.setattr(home, "EXACT", 100)
    random = np.random.default_rng(0)
    left, right = (np.linalg.qr(random.normal(size=(n, 300)))[0] for n in (600, 300))
    x = (left * SPECTRA[name]) @ right.T + offset
    ours, peer = PCA(20).fit([x[:77], x[77:]]), Peer(20, svd_solver="full").fit(x)
    np.testing.assert_allclose(ours.explained_variance_, peer.explained_variance_, rtol=1e-4)
    np.testing.assert_allclose(ours.explained_variance_ratio_, peer.explained_variance_ratio_, rtol=1e-4)
    cosines = np.linalg.svd(ours.components_ @ peer.components_.T, compute_uv=False)
    assert cosines.min() > 0.9999


def test_many_components_of_many_features_are_exact(monkeypatch):
    monkeypatch.setattr(home, "EXACT", 100)
    x = np.random.default_rng(0).normal(size=(130, 120)) / np.arange(1, 121)
    ours, peer = PCA(119).fit([x[:50], x[50:]]), Peer(119, svd_solver="full").fit(x)
    np.testing.assert_allclose(ours.explained_variance_, peer.explained_variance_, rtol=1e-6)
