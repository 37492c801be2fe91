"""The phantoms' loops in C++ give the bits of the SciPy and NumPy functions that they replace."""

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import cKDTree

from ildfv.kernels.drawing import nearest_points, smooth_lines, spline_rows

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("radius", [0, 1, 7, 60])
def test_smoothing_is_that_of_scipy_also_for_kernels_wider_than_the_image(dtype, axis, radius):
    image = RNG.standard_normal((21, 300)).astype(dtype)
    half = RNG.random(radius + 1)
    expected = ndimage.correlate1d(image, np.concatenate([half[:0:-1], half]), axis=axis, mode="reflect")
    np.testing.assert_array_equal(smooth_lines(image, half, axis), expected)


def test_spline_rows_are_sums_in_ascending_order():
    plane = RNG.standard_normal((9, 33)).astype(np.float32)
    index, weights = RNG.integers(0, 9, (4, 20)), RNG.random((4, 20), dtype=np.float32)
    expected = weights[0][:, None] * plane[index[0]]
    for k in range(1, 4):
        expected += weights[k][:, None] * plane[index[k]]
    np.testing.assert_array_equal(spline_rows(plane, index, weights), expected)


@pytest.mark.parametrize(("n", "count"), [(3, 3), (40, 1), (4000, 4)])
@pytest.mark.parametrize("spacing", [0.5, 5.0, 200.0])
def test_nearest_points_are_those_of_a_tree(n, count, spacing):
    points = RNG.uniform([-6, -50, -40], [6, 50, 40], (n, 3)).astype(np.float32)
    x, y = RNG.uniform(-70, 70, (2, 500)).astype(np.float32)  # some outside the points
    z = np.float32(1.7)
    distance, index = nearest_points(points, x, y, z, spacing=spacing, count=count)
    expected, which = cKDTree(points).query(np.stack([np.full(500, z), y, x], axis=1), list(range(1, count + 1)))
    np.testing.assert_array_equal(index, which)
    np.testing.assert_array_equal(distance, expected.astype(np.float32))


def test_empty_input_gives_empty_output():
    assert smooth_lines(np.empty((0, 5)), np.ones(2), 1).shape == (0, 5)
    assert spline_rows(np.empty((3, 0), np.float32), np.zeros((4, 2), int), np.ones((4, 2))).shape == (2, 0)
    none = np.empty(0)
    assert nearest_points(np.zeros((4, 3)), none, none, 0.0, spacing=1.0, count=2)[0].shape == (0, 2)
