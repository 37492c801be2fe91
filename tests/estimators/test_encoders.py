"""VLAD, bags of words, spatial pyramids and pooling against plain float64 loops, and scikit-learn's conventions."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from ildfv import VLAD, BagOfWords, FisherVector, GaussianMixture, Pooling, SpatialPyramid
from ildfv.arrays import to_numpy
from ildfv.errors import InputError
from ildfv.estimators.codebook import Codebook

D, K = 5, 3
# VLAD takes square roots of differences, which lose half of their digits near 0.
TOLERANCE = {"float32": 5e-4, "float64": 1e-7}

RANDOM = np.random.default_rng(1)
CENTRES, SCALE = RANDOM.normal(size=(K, D)), RANDOM.uniform(0.5, 2, D)
MIXTURE = GaussianMixture.from_parameters(np.full(K, 1 / K), CENTRES, RANDOM.uniform(0.5, 2, (K, D)))
GIVEN = {
    "words": BagOfWords(centres=CENTRES, scale=SCALE),
    "vlad": VLAD(centres=CENTRES, scale=SCALE),
    "mean": Pooling("mean"),
    "max": Pooling("max"),
    "flat": Pooling("flat"),
}


def naive_words(x):  # (n, d) → (k,)
    nearest = [np.argmin([(((row - c) / SCALE) ** 2).sum() for c in CENTRES]) for row in x]
    return np.sqrt([nearest.count(k) / len(x) for k in range(K)])


def naive_vlad(x):
    sums = np.zeros((K, D))
    for row in x:
        k = np.argmin([(((row - c) / SCALE) ** 2).sum() for c in CENTRES])
        sums[k] += (row - CENTRES[k]) / SCALE
    rooted = (np.sign(sums) * np.sqrt(np.abs(sums))).ravel()
    norm = np.sqrt((rooted**2).sum())
    return rooted / norm if norm > 0 else rooted


NAIVE = {
    "words": naive_words,
    "vlad": naive_vlad,
    "mean": lambda x: np.array([sum(column) / len(x) for column in x.T]),
    "max": lambda x: np.array([max(column) for column in x.T]),
    "flat": lambda x: x.T.ravel(),
}


def maps(seed=100, b=2, n=24):
    return np.random.default_rng(seed).normal(size=(b, n, D))


def as_images(x, h, w):
    """(b, n, d) as (b, d, h, w)."""
    return np.ascontiguousarray(x.transpose(0, 2, 1)).reshape(len(x), D, h, w)


@pytest.mark.parametrize("library", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", GIVEN)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(100, 10**6), b=st.integers(1, 4), h=st.integers(1, 5), w=st.integers(1, 5))
def test_every_layout_equals_a_float64_loop(name, dtype, library, seed, b, h, w):
    x = maps(seed, b, h * w).astype(dtype)
    expected = np.stack([NAIVE[name](one.astype(np.float64)) for one in x])
    layouts = [library(x), library(as_images(x, h, w)), [library(one) for one in x]]
    for given_maps in layouts:
        found = GIVEN[name].transform(given_maps)
        assert type(found) is type(layouts[0])
        assert str(found.dtype).endswith(dtype)
        np.testing.assert_allclose(to_numpy(found), expected, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("name", GIVEN)
def test_neither_the_order_of_descriptors_nor_the_batch_changes_an_unordered_vector(name):
    x = maps(b=6)
    whole = GIVEN[name].transform(x)
    np.testing.assert_allclose(
        np.concatenate([GIVEN[name].transform(x[i : i + 1]) for i in range(6)]), whole, atol=1e-12
    )
    if name != "flat":
        np.testing.assert_allclose(GIVEN[name].transform(x[:, ::-1]), whole, atol=1e-12)


@pytest.mark.parametrize("name", ["words", "vlad"])
def test_vectors_have_unit_norm_and_a_map_of_centres_gives_zeros(name):
    np.testing.assert_allclose(np.linalg.norm(GIVEN[name].transform(maps()), axis=1), 1)
    if name == "vlad":
        np.testing.assert_array_equal(GIVEN[name].transform(np.tile(CENTRES, (1, 2, 1))), 0)


@pytest.mark.parametrize("dtype", ["float16", "uint8", "int64"])
@pytest.mark.parametrize("name", GIVEN)
def test_integers_and_float16_are_converted_to_floats(name, dtype):
    x = np.round(np.abs(maps()) * 3).astype(dtype)
    x = as_images(x, 6, 4) if dtype == "uint8" else x  # uint8 arrays (b, n, d) may be images
    found = GIVEN[name].transform(x)
    assert found.dtype == ("float64" if dtype == "int64" else "float32")
    np.testing.assert_allclose(found, GIVEN[name].transform(x.astype(np.float64)), atol=1e-5)


def test_units_of_features_do_not_change_assignments():
    units = np.array([1e-3, 1, 1e3, 7, 0.1])
    x = maps(b=10)
    one, other = BagOfWords(4).fit(x), BagOfWords(4).fit(x * units)
    np.testing.assert_allclose(other.centres_, one.centres_ * units, rtol=1e-9)
    np.testing.assert_allclose(other.transform(x * units), one.transform(x), atol=1e-12)


def test_k_means_finds_separate_clusters():
    centres = np.array([[-9.0, 0], [9, 0], [0, 9]])
    x = np.concatenate([centre + 0.1 * np.random.default_rng(0).normal(size=(40, 2)) for centre in centres])
    found = VLAD(3, random_state=0).fit(x)
    order = np.argsort(found.centres_[:, 0])
    np.testing.assert_allclose(found.centres_[order], centres[[0, 2, 1]], atol=0.1)


def test_a_stream_gives_the_centres_of_the_array():
    x = maps(b=8).reshape(-1, D)
    stream = [x[:50], x[50:]]
    found = BagOfWords(4).fit(lambda: iter(stream))
    assert found.centres_.shape == (4, D)
    # equal up to rounding, because the sample has all descriptors in another order
    np.testing.assert_allclose(found.scale_, x.std(axis=0), rtol=1e-9)


@pytest.mark.parametrize("h", [2, 5, 6])
@pytest.mark.parametrize(
    "encoder", [FisherVector(MIXTURE), GIVEN["vlad"], GIVEN["mean"]], ids=["fisher", "vlad", "mean"]
)
@pytest.mark.parametrize("library", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_a_pyramid_is_the_vectors_of_its_cells(encoder, library, h):
    x = as_images(maps(n=h * 4), h, 4)
    middle = round(h / 2)  # Python and NumPy round halves to even
    cells = [x, x[..., :middle, :2], x[..., :middle, 2:], x[..., middle:, :2], x[..., middle:, 2:]]
    expected = np.concatenate([encoder.transform(np.ascontiguousarray(cell)) for cell in cells], axis=1)
    found = SpatialPyramid(encoder).transform(library(x))
    assert type(found) is type(library(x))
    np.testing.assert_allclose(to_numpy(found), expected, atol=1e-6)


def test_a_pyramid_fits_a_copy_of_its_encoder_on_whole_maps():
    x, recipe = as_images(maps(b=10), 6, 4), BagOfWords(4)
    fitted = SpatialPyramid(recipe).fit(x)
    assert not hasattr(recipe, "centres_")
    np.testing.assert_array_equal(fitted.encoder_.centres_, BagOfWords(4).fit(x).centres_)
    assert fitted.transform(x).shape == (10, 5 * 4)


@pytest.mark.filterwarnings("ignore:Can't test estimator:UserWarning")
@pytest.mark.parametrize("estimator", [BagOfWords(4), VLAD(4), Codebook(4), Pooling()], ids=repr)
def test_scikit_learn_accepts_the_encoders(estimator):
    check_estimator(estimator)


@pytest.mark.parametrize("estimator", [BagOfWords(4, random_state=1), VLAD(4), Pooling("max"), SpatialPyramid(VLAD(2))])
def test_encoders_follow_scikit_learn_conventions(estimator):
    x = as_images(maps(b=8), 6, 4)
    before = x.copy()
    vectors = clone(estimator).fit(x).transform(x)
    fitted = estimator.fit(x)
    np.testing.assert_array_equal(fitted.transform(x), vectors)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).transform(x), vectors)
    assert estimator.set_params(**estimator.get_params()) is estimator


@pytest.mark.parametrize("name", ["words", "vlad"])
def test_given_centres_survive_clone_and_tensors(name):
    x = maps()
    expected = GIVEN[name].transform(x)
    np.testing.assert_array_equal(clone(GIVEN[name]).transform(x), expected)
    fitted = clone(GIVEN[name]).fit(x)
    again = type(fitted).from_tensors(fitted.to_tensors(), fitted.info())
    np.testing.assert_array_equal(again.transform(x), expected)
    assert len(fitted.get_feature_names_out()) == expected.shape[1]


def test_an_encoder_is_a_step_of_a_pipeline():
    x = np.concatenate([maps(100, 20), maps(101, 20) * [1, 3, 1, 0.3, 1]])
    y = np.repeat([0, 1], 20)
    assert make_pipeline(VLAD(4), LogisticRegression()).fit(x[::2], y[::2]).score(x[1::2], y[1::2]) > 0.8


X = maps()
REFUSED = {
    "n_clusters must be at most 48, the number of descriptors, got 49": lambda: VLAD(49).fit(X),
    "n_clusters must be at least 1, got 0": lambda: BagOfWords(0).fit(X),
    "n_clusters must be an integer, got 2.5": lambda: BagOfWords(2.5).fit(X),
    "centres must have shape (any, any), got (5,)": lambda: VLAD(centres=np.ones(5)).transform(X),
    "centres must be finite, got NaN in row 0": lambda: VLAD(centres=np.full((2, 5), np.nan)).transform(X),
    "scale must have shape (5,), got (4,)": lambda: VLAD(centres=CENTRES, scale=np.ones(4)).transform(X),
    "scale must be positive and finite": lambda: VLAD(centres=CENTRES, scale=np.zeros(5)).transform(X),
    "maps must have 5 features per descriptor, got 4": lambda: GIVEN["vlad"].transform(X[..., :4]),
    "maps must be finite, got NaN in map 1": lambda: GIVEN["mean"].transform(np.where(X[1, 3, 2] == X, np.nan, X)),
    "maps must be (b, n, d), (b, d, h, w) or a list of (n_i, d)": lambda: GIVEN["mean"].transform(X[0]),
    "maps must contain at least one map, got none": lambda: GIVEN["max"].transform([]),
    "maps[1] must contain at least one map, descriptor and feature": lambda: GIVEN["max"].transform([X[0], X[1][:0]]),
    "maps must contain real numbers, got dtype complex128": lambda: GIVEN["max"].transform(X + 0j),
    "maps must not be a masked array": lambda: GIVEN["max"].transform(np.ma.masked_array(X, X > 1)),
    "must all be arrays of one library, got numpy, torch": lambda: GIVEN["max"].transform([X[0], torch.ones(2, 5)]),
    "method must be one of mean, max, flat, got 'median'": lambda: Pooling("median").transform(X),
    "maps must all have the same number of descriptors to be flattened": (
        lambda: GIVEN["flat"].transform([X[0], X[1][:7]])
    ),
    "maps must all have the same number of features": lambda: GIVEN["mean"].transform([X[0], X[1][:, :3]]),
    "maps must be (b, d, h, w), got shape (2, 24, 5)": lambda: SpatialPyramid(GIVEN["mean"]).transform(X),
    "maps must have at least 2 rows and columns": lambda: SpatialPyramid(GIVEN["mean"]).transform(as_images(X, 24, 1)),
    "grids must be at least 1, got 0": lambda: SpatialPyramid(GIVEN["mean"], grids=(0,)).transform(as_images(X, 6, 4)),
}


@pytest.mark.parametrize("message", REFUSED)
def test_invalid_input_is_refused_in_one_line(message):
    with pytest.raises(InputError) as error:
        REFUSED[message]()
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("estimator", [VLAD(), BagOfWords(), SpatialPyramid(), SpatialPyramid(VLAD())], ids=repr)
def test_unfitted_encoders_cannot_transform(estimator):
    with pytest.raises(NotFittedError):
        estimator.transform(as_images(X, 6, 4))
