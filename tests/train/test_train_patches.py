"""The patches of the patch baseline: cut at the right positions, drawn in equal shares."""

import numpy as np
import pytest
from train_support import Drawn

from ildfv.errors import InputError
from ildfv.train.patches import MAJORITY, PATCH, SIDE, PatchSet, cut


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
