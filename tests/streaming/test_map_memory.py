"""Maps kept in memory are computed once, within a budget, and change no result."""

import numpy as np
import pytest

from ildfv import GaussianMixture
from ildfv.streaming.maps import MapStream, batches
from ildfv.streaming.memory import MapMemory
from ildfv.weighted import Weighted

SIDE = 8
BATCH_BYTES = 2 * 3 * SIDE * SIDE * 4


class Source:
    """Ten slices in one part; counts how many have been read."""

    starts = np.array([0, 10])

    def __init__(self):
        self.read = 0
        self.data = np.random.default_rng(0).standard_normal((10, 3, SIDE, SIDE)).astype(np.float32)

    def __len__(self):
        return 10

    def images(self, indices):
        self.read += len(indices)
        return self.data[indices]


def stream(source, memory, **options):
    return MapStream(source, lambda images: images + 1, batches(source, range(10), 2), memory=memory, **options)


@pytest.mark.parametrize(("budget", "read"), [(0, 30), (2 * BATCH_BYTES, 10 + 2 * 6), (1 << 30, 10)])
def test_maps_within_the_budget_are_computed_once(budget, read):
    source, memory = Source(), MapMemory(budget)
    for _ in range(3):
        np.testing.assert_array_equal(np.concatenate(list(stream(source, memory))), source.data + 1)
    assert source.read == read
    assert memory.used <= budget


def test_a_sample_uses_the_kept_maps():
    source, memory = Source(), MapMemory()
    list(MapStream(source, lambda images: images, batches(source, range(10)), memory=memory))
    kept = MapStream(source, lambda images: images, batches(source, range(10)), memory=memory).sample(50, seed=0)
    assert source.read == 10
    plain = MapStream(source, lambda images: images, batches(source, range(10))).sample(50, seed=0)
    np.testing.assert_array_equal(kept, plain)


def test_other_batches_of_the_same_slices_are_computed_again():
    source, memory = Source(), MapMemory()
    list(stream(source, memory))
    list(MapStream(source, lambda images: images, batches(source, range(10), 5), memory=memory))
    assert source.read == 20


def test_weights_are_kept_with_their_maps_and_count_as_memory():
    source, memory = Source(), MapMemory()
    weighted = stream(source, memory, weights=lambda indices: np.full((len(indices), SIDE * SIDE), 0.5))
    first, second = list(weighted), list(weighted)
    assert all(isinstance(maps, Weighted) for maps in first)
    assert all(one is other for one, other in zip(first, second, strict=True))
    assert memory.used == 5 * (BATCH_BYTES + 2 * SIDE * SIDE * 8)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("method", ["exact", "stepwise"])
def test_a_fit_has_the_same_bytes_for_any_budget(method):
    fitted = [
        GaussianMixture(4, max_iter=3, method=method, random_state=0).fit(stream(Source(), MapMemory(budget)))
        for budget in (0, BATCH_BYTES, 1 << 30)
    ]
    for other in fitted[1:]:
        for name, value in fitted[0].to_tensors().items():
            assert other.to_tensors()[name].tobytes() == value.tobytes(), name
