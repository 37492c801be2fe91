"""The pixels of easy phantoms do not change: a change would silently alter every result measured on them."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from ildfv.kernels.drawing import doubled
from ildfv.phantom.body import body
from ildfv.phantom.chest import FAR, Chest
from ildfv.phantom.difficulty import DIFFICULTIES, patient_of
from ildfv.phantom.fields import WHOLE, Field, Grid
from ildfv.phantom.plane import plane
from ildfv.phantom.scanner import Scanner
from ildfv.phantom.section import Section
from ildfv.phantom.smoothing import gaussian, gaussian_lines
from ildfv.phantom.textures import Textures, ascending
from ildfv.phantom.tree import Tubes

# By "seed-number": means of HU over blocks of 32 × 32 pixels, and numbers of pixels by label code, of the sections at
# 0.3 and 0.85 of the lung's height. The second section has the shoulders' streaks. The bytes are not recorded, because
# NumPy's functions differ between processors in the last digit.
RECORDED = Path(__file__).with_name("easy_slices.npz")


@pytest.mark.parametrize("key", ["0-2", "3-5", "1-7"])
def test_easy_slices_are_the_recorded_ones(key):
    scanner = Scanner(patient_of(*map(int, key.split("-"))))
    with np.load(RECORDED) as recorded:
        means, counts = recorded[f"{key}-means"], recorded[f"{key}-counts"]
    for i, u in enumerate((0.3, 0.85)):
        hu, codes = scanner.slice(u * scanner.patient.height)
        blocks = hu.reshape(16, 32, 16, 32).mean(axis=(1, 3))
        np.testing.assert_allclose(blocks, means[i], atol=1)
        np.testing.assert_allclose(np.bincount(codes.ravel(), minlength=16), counts[i], atol=5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sigma", [0.4, 1.3, 2.2])
def test_smoothing_gives_the_bits_of_scipy(sigma, dtype):
    image = (1000 * np.random.default_rng(0).standard_normal((70, 101))).astype(dtype)
    np.testing.assert_array_equal(gaussian(image, sigma), ndimage.gaussian_filter(image, sigma, truncate=3.0))
    for axis in (0, 1):
        ours, scipys = gaussian_lines(image, sigma, axis=axis), ndimage.gaussian_filter1d(image, sigma, axis=axis)
        np.testing.assert_array_equal(ours, scipys)


BOX = np.s_[31:77, 12:90]


def test_a_field_in_a_part_of_a_plane_is_that_part_of_the_field():
    grid = Grid(96, 1.1)
    field = Field(np.random.default_rng(0), 5.0, reach=53, height=50)
    np.testing.assert_array_equal(field(grid.part(BOX), 20.0), field(grid, 20.0)[BOX])


def test_tubes_in_a_part_of_a_plane_are_that_part_of_all_tubes():
    rng = np.random.default_rng(0)
    start = rng.uniform(-60, 60, (300, 3))  # some end outside the plane
    tubes = Tubes(start, start + rng.uniform(-9, 9, (300, 3)), rng.uniform(0.1, 4, 300))
    grid = Grid(96, 1.1)
    whole = tubes.cut(grid, 3.0, 2.5, widen=0.4)
    assert (whole > 0).mean() > 0.05
    np.testing.assert_array_equal(tubes.cut(grid, 3.0, 2.5, widen=0.4, box=BOX), whole[BOX])


def test_textures_do_not_depend_on_the_part_that_is_drawn():
    patient = patient_of(0, 2)
    textures, z = Textures(patient), 0.4 * patient.height
    small, large = np.s_[200:260, 100:180], np.s_[180:300, 90:200]
    rows, columns = (index.ravel() for index in np.indices((60, 80)))
    for pattern in patient.patterns:
        drawn = [
            textures.mixed(pattern, (rows + shift[0], columns + shift[1]), z, box, np.full(4800, -860, np.float32))
            for box, shift in ((small, (0, 0)), (large, (20, 10)))
        ]
        np.testing.assert_array_equal(*drawn)


def test_the_plane_of_a_chest_has_the_lung_of_the_chest():
    chest = Chest(patient_of(3, 5))
    z = 0.3 * chest.patient.height
    np.testing.assert_array_equal(plane(chest, z).lung, doubled(chest.lung(chest.patient.grid.coarse(2), z)))


def test_smoothing_continues_the_edge_by_reflection():
    image = np.random.default_rng(0).standard_normal((40, 60)).astype(np.float32)
    reflected = np.pad(image, 12, mode="symmetric")
    np.testing.assert_array_equal(gaussian(image, 2.0), gaussian(reflected, 2.0)[12:-12, 12:-12])


def test_doubling_is_linear_between_pixel_centres():
    ramp = np.arange(6, dtype=np.float32)[:, None] + 10 * np.arange(5, dtype=np.float32)
    fine = doubled(ramp)
    assert fine.shape == (12, 10)
    rows = (np.arange(12) + 0.5) / 2 - 0.5
    columns = (np.arange(10) + 0.5) / 2 - 0.5
    expected = np.clip(rows, 0, 5)[:, None] + 10 * np.clip(columns, 0, 4)
    np.testing.assert_allclose(fine, expected, rtol=1e-6)


class WholePlane(Section):
    """A section in which every shape is drawn in all pixels."""

    def box(self, x, y):
        return WHOLE


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
@pytest.mark.parametrize("u", [0.02, 0.2, 0.45, 0.52, 0.6, 0.71, 0.85, 0.92, 0.97])
def test_boxes_around_shapes_do_not_change_the_body(u, difficulty):
    chest = Chest(patient_of(2, 1, difficulty))
    at = chest.section(chest.patient.grid.coarse(2), u * chest.patient.height)
    assert at.rows != slice(0, 256)
    whole = WholePlane(**{field.name: getattr(at, field.name) for field in fields(at)})
    np.testing.assert_array_equal(body(chest, at), body(chest, whole))


@pytest.mark.parametrize("u", [0.02, 0.3, 0.6, 0.9])
def test_the_body_is_inside_its_section(u):
    chest = Chest(patient_of(2, 1))
    grid, z = chest.patient.grid.coarse(2), u * chest.patient.height
    at, every = chest.section(grid, z), slice(0, 256)
    x, y = (axis + 3.2 * bend(grid, z) for axis, bend in zip((grid.x, grid.y), chest.bend, strict=True))
    all_rows = Section(grid, z, every, x, y, chest.bend[1](grid, z), chest.cage(x, y, z))
    np.testing.assert_array_equal(body(chest, at), body(chest, all_rows))


@pytest.mark.parametrize("u", [0.02, 0.3, 0.5, 0.6, 0.9])
def test_the_surface_of_the_lung_does_not_depend_on_the_box_that_is_drawn(u):
    chest = Chest(patient_of(2, 1))
    grid = chest.patient.grid.coarse(2)
    at = chest.section(grid, u * chest.patient.height)
    lung, everywhere = chest.lung_in(at), chest.inside(at.x, at.y, at.z, at.cage)
    drawn = lung != FAR
    assert 0.05 < drawn.mean() < 0.6
    np.testing.assert_array_equal(lung[at.rows][drawn[at.rows]], everywhere[drawn[at.rows]])
    assert everywhere[~drawn[at.rows]].min() > 2 * grid.pixel


def test_four_rows_are_sorted_by_column():
    rows = np.random.default_rng(0).standard_normal((4, 200)).astype(np.float32)
    np.testing.assert_array_equal(ascending(rows), np.sort(rows, axis=0))
