"""Map streams are ordered and restartable; prefetching propagates errors and stops when the consumer does."""

import threading

import numpy as np
import pytest

from ildfv.streaming.maps import SAMPLE_SLICES, MapStream, batches, by_part
from ildfv.streaming.prefetch import prefetch


class Source:
    """Twelve slices in parts of 3, 4 and 5, each image filled with its number."""

    starts = np.array([0, 3, 7, 12])

    def __len__(self):
        return 12

    def images(self, indices):
        return np.repeat(np.asarray(indices, np.uint8)[:, None], 5, axis=1)


def test_batches_never_cross_a_part():
    found = batches(Source(), [11, 0, 1, 2, 3, 5, 6, 8], batch_size=2)
    assert [b.tolist() for b in found] == [[0, 1], [2], [3, 5], [6], [8, 11]]
    assert batches(Source(), []) == []


def test_indices_are_grouped_by_part_without_empty_parts():
    found = by_part(Source(), np.array([0, 2, 7, 11]))
    assert {part: rows.tolist() for part, rows in found.items()} == {0: [0, 2], 2: [7, 11]}


def test_a_stream_gives_the_same_maps_on_every_pass():
    seen = []
    stream = MapStream(Source(), lambda images: images * 2, batches(Source(), range(12), 4), advance=seen.append)
    assert len(stream) == 12
    first, second = list(stream), list(stream)
    assert np.concatenate(first)[:, 0].tolist() == [2 * i for i in range(12)]
    assert all((a == b).all() for a, b in zip(first, second, strict=True))
    assert sum(seen) == 24


def test_a_stream_yields_the_results_of_then():
    stream = MapStream(
        Source(), lambda images: images * 2, batches(Source(), range(12), 4), then=lambda maps: maps.sum()
    )
    assert list(stream) == [10 * sum(range(3)), 10 * sum(range(3, 7)), 10 * sum(range(7, 11)), 10 * 11]


class Numbered:
    """Slices in one part. Their maps (d, h, w) have `n` descriptors of two features, all equal to the slice number."""

    def __init__(self, slices: int, n: int):
        self.slices, self.n, self.starts = slices, n, np.array([0, slices])

    def __len__(self):
        return self.slices

    def images(self, indices):
        return np.asarray(indices)

    def __call__(self, images):
        return np.broadcast_to(images[:, None, None, None].astype(np.float32), (len(images), 2, 1, self.n))


@pytest.mark.parametrize(
    ("slices", "n", "read"),
    [(4000, 100, SAMPLE_SLICES), (4000, 1, 400), (2800, 1, 350), (100, 1, 100)],
    ids=["many descriptors per slice", "one per slice", "no more than an eighth", "few slices"],
)
def test_a_sample_comes_from_enough_slices(slices, n, read):
    numbered = Numbered(slices, n)
    stream = MapStream(numbered, numbered, batches(numbered, range(slices)))
    sample = stream.sample(400, seed=0)
    assert len(sample) == min(400, read * n)
    assert len(np.unique(sample[:, 0])) == read
    assert (sample.min(), sample.max()) == (0, slices - 1)


def test_an_error_while_prefetching_is_raised_in_order():
    def items():
        yield 1
        raise ValueError("disk gone")

    stream = prefetch(items())
    assert next(stream) == 1
    with pytest.raises(ValueError, match="disk gone"):
        next(stream)


@pytest.mark.usefixtures("threads_end")
def test_leaving_early_stops_the_thread():
    stream = prefetch(iter(range(1000)))
    assert next(stream) == 0
    stream.close()


def test_prefetching_is_limited_to_a_few_items():
    done = []

    def items():
        for number in range(100):
            done.append(number)
            yield number

    stream = prefetch(items(), depth=2)
    next(stream)
    threading.Event().wait(0.3)
    assert len(done) <= 5
    stream.close()
