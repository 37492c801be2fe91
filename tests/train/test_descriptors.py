"""Descriptors without a network: the derivatives of known surfaces, whitening, and exact receptive fields."""

import numpy as np
import pytest
import torch

from ildfv.scans.windows import NORMAL
from ildfv.train.descriptors import SIGMAS, WHITENED, Filters, Patches

MIDDLE = np.s_[20:90, 20:90]  # locations far from the border


def maps(kind, surface):
    """Maps (d, 112, 112) of one slice whose normal window is `surface` (rows, columns)."""
    images = torch.zeros(1, 3, 224, 224)
    images[0, NORMAL] = torch.as_tensor(surface * 255, dtype=torch.float32)
    return kind(images)[0].numpy()


def grid():
    t = (np.arange(224) - 112) / 224
    return np.meshgrid(t, t, indexing="ij")


def test_a_constant_has_its_value_and_no_derivatives():
    found = maps(Filters(), np.full((224, 224), 0.4)).reshape(4, 3, 112, 112)
    np.testing.assert_allclose(found[0], 0.4, atol=1e-6)
    np.testing.assert_allclose(found[1:], 0, atol=1e-6)


def test_a_ramp_has_its_slope_in_every_direction():
    rows, columns = grid()
    for angle in (0.0, 0.6, 2.0):
        found = maps(Filters(), 0.5 + 0.3 * (np.cos(angle) * rows + np.sin(angle) * columns)).reshape(4, 3, 112, 112)
        for i, sigma in enumerate(SIGMAS):
            np.testing.assert_allclose(found[1, i][MIDDLE], 0.3 * sigma / 224, rtol=0.01)
            np.testing.assert_allclose(found[2:, i][:, MIDDLE[0], MIDDLE[1]], 0, atol=1e-5)


def test_a_valley_has_its_curvature_as_the_larger_eigenvalue():
    rows, columns = grid()
    for angle in (0.0, 0.6, 2.0):
        across = np.cos(angle) * rows + np.sin(angle) * columns
        found = maps(Filters(), across**2).reshape(4, 3, 112, 112)
        for i, sigma in enumerate(SIGMAS):
            np.testing.assert_allclose(found[3, i][MIDDLE], 2 * sigma**2 / 224**2, rtol=0.03, atol=3e-6)
            np.testing.assert_allclose(found[2, i][MIDDLE], 0, atol=3e-6)


def test_patches_are_white_on_what_they_were_fitted_on(tmp_path):
    random = np.random.default_rng(0)
    images = random.integers(0, 255, (3, 3, 224, 224), dtype=np.uint8)
    patches = Patches()
    raw = patches(images).permute(0, 2, 3, 1).reshape(-1, patches.d).numpy()
    patches.prepare(tmp_path / "a", lambda size: raw, 0)
    white = patches(images).permute(0, 2, 3, 1).reshape(-1, WHITENED).numpy()
    np.testing.assert_allclose(white.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(np.cov(white.T), np.eye(WHITENED), atol=0.01)
    again = Patches()
    again.prepare(tmp_path / "a", lambda size: pytest.fail("fitted twice"), 0)
    np.testing.assert_array_equal(again(images).numpy(), patches(images).numpy())


@pytest.mark.parametrize("kind", [Filters, Patches])
def test_pixels_outside_the_receptive_field_change_nothing(kind):
    random = np.random.default_rng(1)
    surface = random.random((224, 224))
    descriptors = kind()
    row, column = 30, 41
    inside = np.outer(descriptors.fields.rows[row], descriptors.fields.columns[column])
    before = maps(descriptors, surface)[:, row, column]
    after = maps(descriptors, np.where(inside, surface, random.random((224, 224))))[:, row, column]
    np.testing.assert_allclose(before, after, atol=1e-6)
    other = maps(descriptors, np.where(inside, random.random((224, 224)), surface))[:, row, column]
    assert np.abs(other - before).max() > 1e-3
