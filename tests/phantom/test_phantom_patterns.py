"""Phantoms show every pattern, and patterns differ in texture, not in brightness."""

from itertools import combinations

import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from ildfv.kernels.drawing import doubled
from ildfv.patterns import PATTERNS, presence
from ildfv.phantom.chest import Chest
from ildfv.phantom.disease import Disease
from ildfv.phantom.fields import Cells, Field, Grid
from ildfv.phantom.patient import DECK, draw_patient
from ildfv.phantom.scanner import Scanner
from ildfv.phantom.textures import EMPHYSEMA, GROUND_GLASS, HONEYCOMB, RETICULAR
from ildfv.phantom.tree import Tubes


@pytest.fixture(scope="module")
def counts() -> np.ndarray:
    """Pixels per pattern, twelve patients with eight slices each, (12, 8, 4)."""
    found = []
    for number in range(1, 13):
        patient = draw_patient(1, number)
        chest, half = Chest(patient), patient.grid.coarse(2)
        disease = Disease(chest)
        for u in (np.arange(8) + 0.5) / 8:
            z = u * patient.height
            surface = chest.lung(half, z)
            codes = disease.codes(doubled(surface), chest.pleura(half, z, surface), z)
            found.append(np.bincount(codes.ravel(), minlength=6)[2:])
    return np.array(found).reshape(12, 8, 4)


@pytest.fixture(scope="module")
def regions() -> list[tuple[int, float, tuple[float, float]]]:
    """(pattern, mean HU, (depth of holes, spread) at 224×224) of large regions on slices of twelve patients."""
    found = []
    for number in range(1, 13):
        patient = draw_patient(3, number)
        scanner = Scanner(patient)
        for u in (0.2, 0.42) if set(patient.patterns) - {EMPHYSEMA} else (0.75,):
            hu, codes = scanner.slice(u * patient.height)
            small = ndimage.zoom(ndimage.uniform_filter(hu.astype(np.float32), 2), 224 / 512, order=1)
            small_codes = ndimage.zoom(codes, 224 / 512, order=0)
            for k in patient.patterns:
                if (codes == k + 2).sum() < 3000:
                    continue
                inside = small[ndimage.binary_erosion(small_codes == k + 2)]
                lowest, low, middle, high = np.percentile(inside, (10, 25, 50, 75))
                found.append((k, float(hu[codes == k + 2].mean()), (middle - lowest, high - low)))
    return found


def test_each_pattern_is_present_on_a_sizable_share_of_slices(counts):
    share = presence(counts).mean(axis=(0, 1))
    assert np.all((share > 0.12) & (share < 0.4)), dict(zip(PATTERNS, share, strict=True))
    assert np.all(presence(counts, 4000).mean(axis=(0, 1)) >= share)


def test_most_slices_have_one_pattern_fewer_two_few_three(counts):
    none, one, two, three, four = np.bincount(presence(counts).sum(axis=2).ravel(), minlength=5) / 96
    assert one > two > three >= four
    assert 0.15 < none < 0.45
    assert two + three > 0.08


def test_patients_have_only_the_patterns_drawn_for_them(counts):
    for number, found in enumerate(counts, start=1):
        absent = [k for k in range(4) if k not in draw_patient(1, number).patterns]
        assert not found[:, absent].any()


def test_every_twelve_patients_have_all_combinations_of_the_deck():
    for first in (1, 13):
        assert sorted(draw_patient(5, n).patterns for n in range(first, first + 12)) == sorted(DECK)


def test_fibrosis_is_basal_and_emphysema_apical(counts):
    height = np.arange(8)
    centre = [(counts[:, :, k].sum(axis=0) * height).sum() / counts[:, :, k].sum() for k in range(4)]
    assert centre[HONEYCOMB] < centre[EMPHYSEMA] - 1
    assert centre[RETICULAR] < centre[EMPHYSEMA] - 1


def pairs(regions, value):
    """AUC of a value between each two of the three dense patterns, ≥ 0.5."""
    for a, b in combinations((GROUND_GLASS, RETICULAR, HONEYCOMB), 2):
        chosen = [(k == b, value(mean, texture)) for k, mean, texture in regions if k in (a, b)]
        auc = roc_auc_score(*zip(*chosen, strict=True))
        yield (PATTERNS[a], PATTERNS[b]), max(auc, 1 - auc)


@pytest.mark.slow
def test_mean_attenuation_does_not_separate_dense_patterns(regions):
    aucs = dict(pairs(regions, lambda mean, texture: mean))
    assert max(aucs.values()) < 0.75, aucs


def test_texture_separates_dense_patterns_even_at_224_pixels(regions):
    # Reticular has bright lines, honeycomb has holes next to walls, ground glass has neither.
    spread = dict(pairs(regions, lambda mean, texture: texture[1]))
    holes = dict(pairs(regions, lambda mean, texture: texture[0]))
    assert spread["ground glass", "reticular"] > 0.9, spread
    assert spread["ground glass", "honeycomb"] > 0.9, spread
    assert holes["reticular", "honeycomb"] > 0.85, holes


def test_emphysema_is_darker_than_all_other_patterns(regions):
    dark = [mean for k, mean, _ in regions if k == EMPHYSEMA]
    assert dark
    assert max(dark) < min(mean for k, mean, _ in regions if k != EMPHYSEMA)


def test_slices_do_not_depend_on_the_scanning_order():
    patient = draw_patient(1, 3)
    one, two = Scanner(patient), Scanner(patient)
    first, second = one.slice(60.0), one.slice(120.0)
    for a, b in zip((*second, *first), (*two.slice(120.0), *two.slice(60.0)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_neighbouring_sections_show_the_same_anatomy_and_regions():
    patient = draw_patient(1, 1)
    scanner = Scanner(patient)
    (hu, codes), (next_hu, next_codes) = scanner.slice(100.0), scanner.slice(100.5)
    assert (codes != next_codes).mean() < 0.02
    assert np.median(np.abs(hu.astype(int) - next_hu)) < 3 * patient.noise


def test_field_has_mean_0_variance_1_and_is_smooth():
    grid = Grid(256, 1.0)
    field = Field(np.random.default_rng(0), 4.0, reach=128, height=50)
    values = field(grid, 20.0)
    assert abs(values.mean()) < 0.1
    assert abs(values.std() - 1) < 0.1
    assert np.abs(np.diff(values, axis=0)).std() < 0.5
    np.testing.assert_allclose(field(grid, 20.01), values, atol=0.05)


def test_cells_find_the_nearest_points():
    cells = Cells(np.random.default_rng(0), 5.0, reach=60, height=40)
    x, y = np.array([0.0, 10.3], np.float32), np.array([-20.0, 7.7], np.float32)
    distance, _ = cells.near(x, y, 22.0, 2)
    points = cells.points.reshape(-1, 3)
    here = np.stack([np.full(2, 22.0), y, x], axis=1)
    every = np.sqrt(((here[:, None] - points[None]) ** 2).sum(axis=2))
    np.testing.assert_allclose(distance, np.sort(every, axis=1)[:, :2].T, rtol=1e-4)


def test_a_tube_fills_the_pixels_inside_it_and_no_others():
    grid = Grid(64, 1.0)
    tube = Tubes(np.array([[0.0, 0.0, -10.0]]), np.array([[0.0, 0.0, 10.0]]), np.array([5.0]))
    share = tube.cut(grid, 0.0, 1.0)
    distance = np.hypot(grid.x, grid.y)
    assert np.all(share[distance < 4.4] == 1)
    assert np.all(share[distance > 5.6] == 0)
    assert abs(share.sum() - np.pi * 25) < 2
    assert not tube.cut(grid, 40.0, 1.0).any()
