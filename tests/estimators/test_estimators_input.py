"""Input validation of all estimators: masks, complex and huge values, byte order, streams, invalid settings."""

import warnings

import numpy as np
import pytest
import torch

from ildfv import PCA, FisherVector, GaussianMixture, MultivariateRegression, moments
from ildfv.errors import InputError
from ildfv.estimators.batches import Batches

RANDOM = np.random.default_rng(0)
X, Y, MAPS = RANDOM.normal(size=(60, 4)), RANDOM.normal(size=(60, 2)), RANDOM.normal(size=(3, 20, 4))
MIXTURE = GaussianMixture.from_parameters([0.5, 0.5], RANDOM.normal(size=(2, 4)), np.ones((2, 4)))

LEARN = {
    "mixture": lambda x: GaussianMixture(2, max_iter=2, tol=np.inf).fit(x),
    "stepwise mixture": lambda x: GaussianMixture(2, max_iter=2, tol=np.inf, method="stepwise").fit(x),
    "pca": lambda x: PCA(2).fit(x),
    "regression": lambda x: MultivariateRegression().fit(x, Y[: len(x)]),
}


def learned(estimator) -> np.ndarray:
    return getattr(estimator, "means_", getattr(estimator, "components_", getattr(estimator, "coef_", None)))


@pytest.mark.parametrize("name", LEARN)
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: np.ma.masked_array(x, x > 1), "must not be a masked array"),
        (lambda x: x + 0j, "got dtype complex128"),
        (lambda x: torch.from_numpy(x + 0j), "got dtype complex128"),
        (lambda x: x[None, None, None], "X must have shape"),
        (lambda x: x * 1e300, "1e.?150"),
        (lambda x: np.where(x == x[7, 2], np.nan, x), "must be finite, got NaN in row 7"),
        (lambda x: np.where(x == x[7, 2], -np.inf, x).astype(">f4"), "must be finite, got -inf in row 7"),
        (lambda x: x.astype("datetime64[s]"), "real numbers, got dtype datetime64"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_ambiguous_input_is_refused(name, spoil, message):
    with pytest.raises(InputError, match=message):
        LEARN[name](spoil(X))


@pytest.mark.parametrize("name", LEARN)
@pytest.mark.parametrize("kind", [">f8", ">f4", "<f4", ">i4", "float16"])
def test_byte_order_and_width_do_not_change_the_fit(name, kind):
    x = np.round(X * 8) / 8 if "f" in kind else np.round(X * 8)  # values that every dtype represents exactly
    np.testing.assert_allclose(learned(LEARN[name](x.astype(kind))), learned(LEARN[name](x)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", LEARN)
def test_strides_do_not_change_the_fit(name):
    wide = np.zeros((120, 8))
    wide[::2, ::2] = X[::-1, ::-1]
    for view in (wide[::2, ::2][::-1, ::-1], np.asfortranarray(X), torch.from_numpy(X.T.copy()).T):
        np.testing.assert_allclose(learned(LEARN[name](view)), learned(LEARN[name](X)), rtol=1e-9, atol=1e-12)


class Ends:
    """An iterable that can be read only once."""

    def __init__(self, make):
        self.items = make()

    def __iter__(self):
        return self.items


def batches():
    return (part for part in np.array_split(X, 3))


@pytest.mark.parametrize("name", ["mixture", "stepwise mixture"])
@pytest.mark.parametrize(
    "once",
    [batches, lambda: Ends(batches), lambda: (lambda items: lambda: items)(batches())],
    ids=["generator", "iterable", "function"],
)
def test_streams_that_can_be_read_only_once_are_refused(name, once):
    with pytest.raises(InputError, match="X must be restartable, got a generator"):
        LEARN[name](once())
    with pytest.raises(InputError, match="X must be restartable, got a generator"):
        LEARN["pca"](batches())


def test_a_stream_that_is_empty_in_its_second_pass_is_refused():
    items = batches()
    with pytest.raises(InputError, match="X must be restartable, got no batches in its second pass"):
        LEARN["mixture"](lambda: (part for part in items))
    items = batches()
    np.testing.assert_allclose(LEARN["pca"](lambda: (part for part in items)).components_, LEARN["pca"](X).components_)


SETTINGS = {
    "n_components must be an integer, got 2.5": lambda: GaussianMixture(2.5).fit(X),
    "n_components must be an integer, got True": lambda: GaussianMixture(True).fit(X),
    "max_iter must be an integer, got 1.5": lambda: GaussianMixture(2, max_iter=1.5).fit(X),
    "tol must be a number, got 'small'": lambda: GaussianMixture(2, tol="small").fit(X),
    "tol must be at least 0, got nan": lambda: GaussianMixture(2, tol=np.nan).fit(X),
    "variance_floor must be finite, got inf": lambda: GaussianMixture(2, variance_floor=np.inf).fit(X),
    "n_samples must be an integer, got 2.5": lambda: MIXTURE.sample(2.5),
    "weights must contain real numbers": lambda: GaussianMixture.from_parameters(["a"], [[0.0]], [[1.0]]),
    "variances must be finite": lambda: GaussianMixture.from_parameters([1.0], [[0.0]], [[np.inf]]),
    "n_components must be an integer, got 'mle'": lambda: PCA("mle").fit(X),
    "n_components must be an integer, got 0.9": lambda: PCA(0.9).fit(X),
    "n_passes must be an integer, got 2.5": lambda: PCA(n_passes=2.5).fit(X),
    "X must have shape (any, 2), got (60, 4)": lambda: PCA(2).fit(X).inverse_transform(X),
    "ridge must be a number, got 'a'": lambda: MultivariateRegression(ridge="a").fit(X, Y),
    "ridge must be finite, got inf": lambda: MultivariateRegression(ridge=np.inf).fit(X, Y),
    "tol must be at least 0, got -1": lambda: MultivariateRegression(tol=-1).fit(X, Y),
    "batch 0 must be a pair (X, Y)": lambda: MultivariateRegression().fit([X, X]),
    "Y must not be a masked array": lambda: MultivariateRegression().fit(X, np.ma.masked_array(Y, Y > 1)),
    "Y must contain real numbers, got dtype complex128": lambda: MultivariateRegression().fit(X, Y + 0j),
    "mixture must be ildfv's GaussianMixture or None, got ildfv.estimators.pca.PCA": (
        lambda: FisherVector(PCA()).fit(MAPS)
    ),
    "threshold must be in [0, 1), got 1": lambda: FisherVector(MIXTURE, threshold=1).transform(MAPS),
    "threshold must be a number, got None": lambda: moments(MAPS, MIXTURE, threshold=None),
    "mixture must have weights_, means_, variances_": lambda: moments(MAPS, GaussianMixture(2)),
    "maps must all be arrays of one library, got numpy and, in map 1, torch": lambda: moments(
        [MAPS[0], torch.from_numpy(MAPS[1])], MIXTURE
    ),
    "maps must not be masked arrays": lambda: moments(np.ma.masked_array(MAPS, MAPS > 1), MIXTURE),
    "maps must not be masked arrays: pass": lambda: moments([MAPS[0], np.ma.masked_array(MAPS[0])], MIXTURE),
    "values of maps must be within 1e154 standard deviations": lambda: moments(MAPS * 1e300, MIXTURE),
    "float32 maps must be within 1e18 standard deviations of the mixture: pass float64": lambda: FisherVector(
        MIXTURE
    ).transform((MAPS * 1e30).astype(np.float32)),
    "log likelihoods of rows 0:60 of X must be finite, got -inf in row 0": lambda: MIXTURE.score_samples(X * 1e300),
}


@pytest.mark.parametrize("message", SETTINGS)
def test_errors_name_settings_and_values_out_of_range(message):
    with pytest.raises(InputError) as error:
        SETTINGS[message]()
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_none_in_object_labels_is_missing():
    gaps = np.where(Y > 1, None, Y)
    expected = MultivariateRegression().fit(X, np.where(Y > 1, np.nan, Y))
    np.testing.assert_array_equal(MultivariateRegression().fit(X, gaps).coef_, expected.coef_)


def test_values_far_from_the_mixture_are_encoded_in_float64():
    far = FisherVector(MIXTURE).transform(MAPS * 1e30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        near = FisherVector(MIXTURE).transform((MAPS * 1e10).astype(np.float32))
    assert np.isfinite(far).all()
    np.testing.assert_allclose(np.linalg.norm(near, axis=1), 1, rtol=1e-5)


def test_deleting_batches_closes_its_stream():
    closed = []

    def stream():
        try:
            yield from [np.ones((4, 2))] * 3
        finally:
            closed.append(True)

    batches = Batches(stream)
    assert batches.width() == 2
    assert not closed
    del batches
    assert closed  # by reference counting, without garbage collection


def test_pandas_missing_labels_are_missing():
    pandas = pytest.importorskip("pandas")
    gaps = np.where(Y > 1, np.nan, Y)
    frame = pandas.DataFrame(gaps, columns=["u", "v"]).convert_dtypes()
    assert frame.isna().to_numpy().any()
    expected = MultivariateRegression().fit(X, gaps)
    np.testing.assert_allclose(MultivariateRegression().fit(X, frame).coef_, expected.coef_)
    assert expected.score(X, frame) == pytest.approx(expected.score(X, gaps))
    with pytest.raises(InputError, match="finite"):
        MultivariateRegression().fit(frame, X[:, 0])


def loader(*arrays):
    from torch.utils.data import DataLoader, TensorDataset

    return DataLoader(TensorDataset(*(torch.from_numpy(array) for array in arrays)), batch_size=20)


@pytest.mark.parametrize("name", ["mixture", "stepwise mixture", "pca"])
@pytest.mark.parametrize("labels", [X, Y, Y[:, 0]], ids=["as wide as x", "two columns", "one column"])
def test_loaders_of_pairs_are_refused_with_a_remedy(name, labels):
    with pytest.raises(
        InputError, match=r"batch 0 of X must be one array, got 2 fields: pass a function that yields x"
    ):
        LEARN[name](loader(X, labels))


def test_a_batch_in_a_tuple_of_one_is_counted_in_the_singular():
    with pytest.raises(InputError, match="batch 0 of X must be one array, got 1 field: pass a function"):
        LEARN["pca"](lambda: iter([(X,)]))


@pytest.mark.parametrize("name", ["mixture", "stepwise mixture", "pca"])
def test_loaders_of_one_field_are_read_as_arrays(name):
    np.testing.assert_allclose(learned(LEARN[name](loader(X))), learned(LEARN[name](list(X.reshape(3, 20, 4)))))


def test_a_regression_reads_a_loader_of_pairs():
    found = MultivariateRegression().fit(loader(X, Y))
    np.testing.assert_allclose(found.coef_, MultivariateRegression().fit(X, Y).coef_)
