"""Batches contain every slice once per epoch, in an order that depends on the seed; ranks share them."""

import numpy as np
import pytest
from train_support import MemorySlices

from ildfv import distributed
from ildfv.errors import InputError
from ildfv.train.data import SHIFT, Epoch, augmented, labelled_only, train_mean_std


@pytest.fixture(scope="module")
def slices():
    return MemorySlices(23)


def test_an_epoch_contains_every_slice_once(slices):
    batches = list(Epoch(slices, np.arange(23), 5, seed=0, epoch=0))
    assert [len(batch.indices) for batch in batches] == [5, 5, 5, 4, 4]
    assert sorted(np.concatenate([batch.indices for batch in batches])) == list(range(23))
    for batch in batches:
        assert np.array_equal(batch.images, slices.data[batch.indices])
        assert (np.diff(batch.indices) > 0).all()  # read in ascending order


def test_order_depends_on_seed_and_epoch_only(slices):
    def order(seed, epoch):
        return np.concatenate([batch.indices for batch in Epoch(slices, np.arange(23), 5, seed, epoch)]).tolist()

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2)
    assert order(0, 1) != order(1, 1)


def test_ranks_share_a_batch_between_them(slices, monkeypatch):
    whole = next(iter(Epoch(slices, np.arange(23), 5, 0, 0, augment=True)))
    monkeypatch.setattr(distributed, "size", lambda: 3)
    found = {}
    for rank in range(3):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        batch = next(iter(Epoch(slices, np.arange(23), 5, 0, 0, augment=True)))
        assert batch.total == 5
        found.update(zip(batch.rows.tolist(), batch.images, strict=True))
    assert np.array_equal(np.stack([found[row] for row in range(5)]), whole.images)  # augmentation is the same, too


def test_an_error_while_reading_reaches_the_caller(slices):
    class Broken(MemorySlices):
        def images(self, indices):
            raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        list(Epoch(Broken(8), np.arange(8), 4, 0, 0))


def test_augmentation_mirrors_and_shifts():
    images = np.arange(2 * 3 * 20 * 20, dtype=np.uint16).reshape(2, 3, 20, 20)
    out = augmented(images, np.array([1, 0]), np.array([[SHIFT, SHIFT], [SHIFT + 2, SHIFT - 1]]))
    assert np.array_equal(out[0], images[0, :, :, ::-1])
    assert np.array_equal(out[1, :, :18, 1:], images[1, :, 2:, :19])
    assert np.array_equal(out[1, :, 18, 1:], images[1, :, 19, :19])  # the edge repeated


def test_unlabelled_slices_are_excluded(slices):
    few = MemorySlices(6)
    few.counts[[1, 4]] = -1
    assert labelled_only(few, [5, 4, 1, 0, 5]).tolist() == [0, 5]
    with pytest.raises(InputError, match=r"in \[0, 6\)"):
        labelled_only(few, [6])


def test_mean_and_deviation_are_those_of_the_given_slices(slices):
    indices = [3, 9, 17]
    mean, std = train_mean_std(slices, indices)
    chosen = slices.data[indices].astype(np.float64)
    assert mean == pytest.approx(chosen.mean(axis=(0, 2, 3)), rel=1e-12)
    assert std == pytest.approx(chosen.std(axis=(0, 2, 3)), rel=1e-12)


def test_a_window_without_contrast_has_deviation_one():
    flat = MemorySlices(2)
    flat.data[:, 0] = 255
    mean, std = train_mean_std(flat, [0, 1])
    assert (mean[0], std[0]) == (255, 1)


def test_augmentation_does_not_change_attenuation():
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 20, 20), dtype=np.uint8)
    out = augmented(images, np.array([1, 0, 1, 0]), np.array([[0, 2 * SHIFT], [3, 5], [SHIFT, 0], [2, 2]]))
    pixels = [{tuple(p) for p in one.reshape(3, -1).T.tolist()} for one in images]  # the three windows of each pixel
    for one, known in zip(out, pixels, strict=True):
        assert {tuple(p) for p in one.reshape(3, -1).T.tolist()} <= known
