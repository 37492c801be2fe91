"""The phantoms' loops in C++ give the bits of the SciPy and NumPy functions that they replace."""

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import cKDTree

from ildfv.kernels.drawing import (
    Layers,
    Taps,
    distance_to_outside,
    doubled,
    draw_layers,
    draw_tubes,
    nearest_points,
    smooth_lines,
    spline_plane,
)

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("radius", [0, 1, 7, 60])
def test_smoothing_is_that_of_scipy_also_for_kernels_wider_than_the_image(dtype, axis, radius):
    image = RNG.standard_normal((21, 300)).astype(dtype)
    half = RNG.random(radius + 1)
    expected = ndimage.correlate1d(image, np.concatenate([half[:0:-1], half]), axis=axis, mode="reflect")
    np.testing.assert_array_equal(smooth_lines(image, half, axis), expected)


def drawn_taps(knots, places):
    return Taps(RNG.integers(0, knots, (4, places)), RNG.random((4, places), dtype=np.float32))


def test_spline_planes_are_sums_in_ascending_order():
    knots, rows, columns = RNG.standard_normal((9, 33)).astype(np.float32), drawn_taps(9, 20), drawn_taps(33, 51)
    lines = sum(w * knots[:, i] for i, w in zip(columns.index, columns.weights, strict=True))
    expected = sum(w[:, None] * lines[i] for i, w in zip(rows.index, rows.weights, strict=True))
    np.testing.assert_array_equal(spline_plane(knots, rows, columns), expected)


def test_taps_of_a_part_are_those_of_its_places():
    knots, rows, columns = RNG.standard_normal((9, 9)).astype(np.float32), drawn_taps(9, 20), drawn_taps(9, 30)
    part = spline_plane(knots, rows.part(slice(7, 15)), columns.part(slice(2, 29)))
    np.testing.assert_array_equal(part, spline_plane(knots, rows, columns)[7:15, 2:29])


@pytest.mark.parametrize(("n", "count"), [(3, 3), (40, 1), (4000, 4)])
@pytest.mark.parametrize("spacing", [0.5, 5.0, 200.0])
def test_nearest_points_are_those_of_a_tree(n, count, spacing):
    points = RNG.uniform([-6, -50, -40], [6, 50, 40], (n, 3)).astype(np.float32)
    x, y = RNG.uniform(-70, 70, (2, 500)).astype(np.float32)  # some outside the points
    z = np.float32(1.7)
    distance, index = nearest_points(points, x, y, z, spacing=spacing, count=count)
    expected, which = cKDTree(points).query(np.stack([np.full(500, z), y, x], axis=1), list(range(1, count + 1)))
    np.testing.assert_array_equal(index, which.T)
    np.testing.assert_array_equal(distance, expected.T.astype(np.float32))


def test_nearest_points_outside_the_points_are_those_of_a_tree():
    points = RNG.uniform(-5, 5, (60, 3)).astype(np.float32)
    x, y = np.array([-1000, 1000, 0, 0, 3], np.float32), np.array([0, 900, -1000, 1, 5], np.float32)
    distance, index = nearest_points(points, x, y, 0.0, spacing=5.0, count=3)
    expected, which = cKDTree(points).query(np.stack([np.zeros(5), y, x], axis=1), [1, 2, 3])
    np.testing.assert_array_equal(index, which.T)
    np.testing.assert_array_equal(distance, expected.T.astype(np.float32))


def interpolated(plane):
    """The plane at twice the resolution, in NumPy."""
    for _ in range(2):
        before, after = np.concatenate([plane[:1], plane[:-1]]), np.concatenate([plane[1:], plane[-1:]])
        plane = (
            np.stack([0.75 * plane + 0.25 * before, 0.75 * plane + 0.25 * after], axis=1).reshape(-1, len(plane.T)).T
        )
    return plane


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (7, 1), (40, 37)])
def test_doubling_interpolates_along_y_and_then_along_x(shape, dtype):
    plane = RNG.standard_normal(shape).astype(dtype)
    fine = doubled(plane)
    assert fine.dtype == dtype
    np.testing.assert_array_equal(fine, interpolated(plane))


@pytest.mark.parametrize("share", [0.5, 0.99, 0.9999])
@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (90, 131)])
def test_distances_to_the_outside_are_those_of_scipy(shape, share):
    inside = RNG.random(shape) < share
    inside[0, -1] = False
    np.testing.assert_array_equal(distance_to_outside(inside), ndimage.distance_transform_edt(inside))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_layers_are_mixed_in_order(dtype):
    layers = Layers(0.7, 620.0, 1.7, 30.0, 2.0, -1000.0)
    soft = RNG.uniform(-100, 60, (30, 41)).astype(dtype)
    bone, marrow, skin = RNG.uniform([[[-4]], [[80]], [[-6]]], [[[4]], [[300]], [[3]]], (3, 30, 41)).astype(np.float32)

    def covered(distance):
        return np.clip(0.5 - distance / np.float32(0.7), 0, 1)

    def mixed(hu, share, value):
        return hu + share * (value - hu)

    fine_bone, fine_skin = interpolated(bone), interpolated(skin)
    expected = mixed(interpolated(soft), covered(fine_bone), 620.0)
    expected = mixed(expected, covered(fine_bone + 1.7), interpolated(marrow))
    expected = mixed(expected, covered(-2 - fine_skin), 30.0)
    expected = mixed(-1000.0, covered(fine_skin), expected)
    hu = draw_layers(soft, bone, marrow, skin, layers)
    assert hu.dtype == dtype
    np.testing.assert_array_equal(hu, expected)


def test_tubes_fill_pixels_by_their_distance_to_the_axis():
    axis, pixel, z, thickness = np.linspace(-20, 20, 51).astype(np.float32), 0.8, 1.5, 2.5
    start, along = RNG.uniform(-15, 15, (40, 3)), RNG.uniform(-8, 8, (40, 3))
    squared, radius, opacity = (along * along).sum(axis=1), RNG.uniform(0.1, 3, 40), RNG.uniform(0.2, 1, 40)
    boxes = np.tile([5, 40, 10, 51], (40, 1))
    expected = np.zeros((41, 35), np.float32)
    for (x, y, h), (ax, ay, az), length, r, most in zip(start, along, squared, radius, opacity, strict=True):
        hx, hy, hz = axis[5:40] - x, axis[10:51, None] - y, z - h
        t = np.clip((hx * ax + hy * ay + hz * az) / length, 0, 1)
        flat = np.maximum(np.abs(hz - t * az) - thickness / 2, 0)
        distance = np.sqrt((hx - t * ax) ** 2 + (hy - t * ay) ** 2 + flat**2)
        expected = np.maximum(expected, (np.clip(0.5 + (r - distance) / pixel, 0, 1) * most).astype(np.float32))
    share = np.zeros((41, 35), np.float32)
    tubes = np.column_stack([start, along, squared, radius, opacity])
    draw_tubes(share, (10, 5), tubes, boxes, axis, z=z, thickness=thickness, pixel=pixel)
    assert (share > 0).mean() > 0.2
    np.testing.assert_array_equal(share, expected)


def test_empty_input_gives_empty_output():
    assert smooth_lines(np.empty((0, 5)), np.ones(2), 1).shape == (0, 5)
    assert spline_plane(np.zeros((3, 3)), drawn_taps(3, 2), drawn_taps(3, 0)).shape == (2, 0)
    assert doubled(np.empty((3, 0))).shape == (6, 0)
    none = np.empty(0)
    assert nearest_points(np.zeros((4, 3)), none, none, 0.0, spacing=1.0, count=2)[0].shape == (2, 0)
