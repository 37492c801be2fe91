"""The patch baseline: positions of patches, and a label map that recovers known patterns."""

import numpy as np
import pytest
from train_support import MemorySlices

from ildfv.errors import InputError
from ildfv.train import networks
from ildfv.train.patches import MAJORITY, PATCH, SIDE, PatchSet, cut, label_map, pattern_counts
from ildfv.train.trainer import TrainSettings, train


class Drawn(MemorySlices):
    """Slices of which the left half is lung and a quarter shows ground glass (bright) or emphysema (dark)."""

    def __init__(self, n=8):
        super().__init__(n, patients=4)
        rng = np.random.default_rng(1)
        self.data = rng.integers(100, 130, (n, 3, 224, 224), dtype=np.uint8)
        self.maps = np.zeros((n, 224, 224), np.uint8)
        for i in range(n):
            value, code = ((70, 1), (-70, 4))[i % 2]
            self.data[i, :, 112:, :112] += np.uint8(value % 256)
            self.maps[i, 112:, :112] = code

    def label_maps(self, indices):
        return self.maps[indices]

    @staticmethod
    def lungs(indices):
        lung = np.zeros((len(indices), 224, 224), bool)
        lung[:, :, :112] = True
        return lung


def test_a_patch_is_centred_on_its_centre():
    plane = np.arange(224 * 224).reshape(1, 224, 224)
    patches = cut(plane, np.array([[100, 50], [0, 0]]))
    assert patches.shape == (2, 1, SIDE, SIDE)
    assert np.array_equal(patches[0, 0], plane[0, 93:107, 43:57])
    assert np.array_equal(patches[1, 0, 7:, 7:], plane[0, :7, :7])
    assert (patches[1, 0, :8, :8] == 0).all()  # the corner repeated


def test_patches_come_from_the_lung_in_equal_shares():
    slices = Drawn()
    patches = PatchSet(slices, range(8), slices.lungs, per_slice=10)
    assert patches.images(range(80)).shape == (80, 3, PATCH, PATCH)
    assert patches.images([3]).dtype == np.uint8
    assert np.array_equal(patches.patients, slices.patients[patches.indices])
    shown = patches.counts.sum(axis=1) >= MAJORITY
    assert 0.3 < shown.mean() < 0.7
    assert (patches.counts[np.isin(patches.indices, [0, 2, 4, 6]), 3] == 0).all()  # no emphysema on even slices
    assert np.array_equal(patches.of([2]), np.flatnonzero(patches.indices == 2))


def test_patches_depend_on_the_seed_only():
    slices = Drawn()
    first, again = (PatchSet(slices, range(8), slices.lungs, seed=1) for _ in range(2))
    assert np.array_equal(first.data, again.data)
    assert not np.array_equal(first.data, PatchSet(slices, range(8), slices.lungs, seed=2).data)


def test_slices_without_lung_are_an_error():
    slices = Drawn()
    with pytest.raises(InputError, match="slices that contain lung"):
        PatchSet(slices, range(8), lambda indices: np.zeros((len(indices), 224, 224), bool))


def test_a_trained_baseline_recovers_the_label_map(tmp_path):
    slices = Drawn()
    patches = PatchSet(slices, range(8), slices.lungs, per_slice=16)
    settings = TrainSettings(network="patch", threshold=MAJORITY, epochs=6, batch_size=8, learning_rate=1e-3)
    result = train(settings, patches, patches.of(range(6)), patches.of([6, 7]), tmp_path)
    labels, windows = label_map(result.network, slices.data[7], slices.lungs([7])[0])
    assert windows == 51 * 26  # every 10 of 512 pixels, the left half
    assert (labels == slices.maps[7]).mean() > 0.9
    assert (labels[:, 112:] == 0).all()  # nothing outside the lung
    assert pattern_counts(labels)[3] == pytest.approx(256 * 256, rel=0.15)


def test_a_slice_without_lung_needs_no_patch():
    labels, windows = label_map(
        networks.build("patch").eval(), np.zeros((3, 224, 224), np.uint8), np.zeros((224, 224), bool)
    )
    assert windows == 0
    assert not labels.any()
