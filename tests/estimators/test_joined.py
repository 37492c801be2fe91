"""Small batches of a stream are processed together, with the results and messages of separate batches."""

import numpy as np
import pytest

from ildfv import GaussianMixture
from ildfv.errors import InputError
from ildfv.estimators.batches import BATCH_BYTES, Batches
from ildfv.estimators.joined import SMALL_BYTES
from ildfv.kernels import cpu
from ildfv.weighted import Weighted

RNG = np.random.default_rng(0)
X = RNG.standard_normal((600, 3)).astype(np.float32) + 4 * RNG.integers(0, 3, (600, 1)).astype(np.float32)
SIZES = (1, 7, 92, 200, 300)
PARTS = np.split(X, np.cumsum(SIZES)[:-1])
MIXTURE = GaussianMixture(3, random_state=0).fit(X)


def joined(x, rows=None):
    return list(Batches(x, finite=False).joined(rows))


def test_small_batches_are_joined_in_order():
    (name, batch), *others = joined(PARTS)
    assert (name, others) == ("batch 0 of x to batch 4 of x", [])
    np.testing.assert_array_equal(batch, X)


def test_batches_are_joined_until_they_have_enough_rows():
    assert [len(batch) for _, batch in joined(PARTS, 100)] == [100, 200, 300]
    assert [len(batch) for _, batch in joined(PARTS, 250)] == [300, 300]


def test_memory_is_bounded():
    rows = SMALL_BYTES // 8
    sizes = [batch.nbytes for _, batch in joined(lambda: (np.zeros((rows, 2), np.float32) for _ in range(20)))]
    assert max(sizes) == BATCH_BYTES
    assert sum(sizes) == 20 * SMALL_BYTES


def test_maps_of_a_network_are_not_joined():
    maps = RNG.standard_normal((2, 3, 4, 5)).astype(np.float32)  # (b, d, h, w)
    rows = maps.transpose(0, 2, 3, 1).reshape(2, 20, 3)
    found = [batch for _, batch in joined([X[:5], X[5:9], rows, maps, maps, X])]
    assert [batch.shape for batch in found] == [(9, 3), (2, 20, 3), (2, 3, 4, 5), (2, 3, 4, 5), (600, 3)]


def test_dtypes_are_not_mixed():
    assert [batch.dtype.name for _, batch in joined([X, X, X.astype(float)])] == ["float32", "float64"]


def test_a_stream_may_reuse_the_memory_of_its_batches():
    def stream():
        memory = np.empty((100, 3), np.float32)
        for start in range(0, 600, 100):
            memory[:] = X[start : start + 100]
            yield memory

    np.testing.assert_array_equal(joined(stream)[0][1], X)


def test_a_sample_does_not_depend_on_how_a_stream_is_divided():
    expected = Batches([X]).sample(50, seed=3)
    np.testing.assert_array_equal(Batches(PARTS).sample(50, seed=3), expected)
    np.testing.assert_array_equal(Batches(X[None]).sample(50, seed=3), expected)


@pytest.mark.parametrize("method", ["exact", "stepwise"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_list_of_small_maps_gives_the_fit_of_one_batch_for_any_number_of_threads(method):
    def fitted(x, threads):
        cpu.set_num_threads(threads)
        try:
            return GaussianMixture(3, max_iter=3, method=method, random_state=0).fit(x)
        finally:
            cpu.set_num_threads(None)

    one, two = (fitted(PARTS, threads) for threads in (1, 2))
    np.testing.assert_array_equal(one.means_, two.means_)
    np.testing.assert_array_equal(one.variances_, two.variances_)
    if method == "exact":
        np.testing.assert_array_equal(one.means_, fitted([X], 1).means_)


def test_weights_stay_with_their_descriptors():
    weights = RNG.integers(0, 3, 600).astype(float)
    cut = np.split(weights, np.cumsum(SIZES)[:-1])
    repeated = np.repeat(X, weights.astype(int), axis=0)
    assert MIXTURE.score(lambda: map(Weighted, PARTS, cut)) == pytest.approx(MIXTURE.score(repeated), rel=1e-6)


def test_maps_with_and_without_weights_are_not_mixed():
    weighted = Weighted(X, np.full(600, 2.0))
    assert MIXTURE.score(lambda: iter([X, X, X, weighted])) == pytest.approx(MIXTURE.score(X), rel=1e-6)


def test_a_value_that_is_not_finite_is_reported_with_its_batch_and_row():
    broken = [part.copy() for part in PARTS]
    broken[2][5, 1] = np.nan
    with pytest.raises(InputError, match="batch 2 of X must be finite, got NaN in row 5"):
        MIXTURE.score(broken)
    with pytest.raises(InputError, match="batch 2 of X must be finite, got NaN in row 5"):
        GaussianMixture(3).fit(broken)


def test_torch_tensors_are_joined():
    torch = pytest.importorskip("torch")
    ((_, batch),) = joined([torch.from_numpy(part) for part in PARTS])
    assert isinstance(batch, torch.Tensor)
    np.testing.assert_array_equal(batch.numpy(), X)


def test_a_list_that_fits_into_one_batch_is_joined_once():
    batches = Batches(PARTS, finite=False)
    (_, first), (_, again) = (next(batches.joined()) for _ in range(2))
    assert first is again
    assert [len(batch) for _, batch in batches.joined(100)] == [100, 200, 300]


def test_larger_lists_and_streams_are_read_in_every_pass():
    large = [np.zeros((SMALL_BYTES // 8, 2), np.float32) for _ in range(17)]
    for x in (large, lambda: iter(PARTS)):
        batches = Batches(x, finite=False)
        first, again = ([batch for _, batch in batches.joined()] for _ in range(2))
        assert [one.shape for one in first] == [one.shape for one in again]
        assert first[0] is not again[0]
