"""Options that make scans comparable: measured values, what they change, and scans in which they cannot be measured."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from ildfv.errors import InputError
from ildfv.scans.geometry import AXES, Geometry
from ildfv.scans.lungs import lung_mask
from ildfv.scans.noise import measured_noise, reduced
from ildfv.scans.normalise import measured_air, measured_tissue, normalised
from ildfv.scans.pixel_size import Axis, Field
from ildfv.scans.preparation import Preparation, applied, check_same
from ildfv.scans.tissue import mode
from ildfv.scans.volume import PADDING, Volume

SIDE, PIXEL = 256, 0.8  # pixels, mm


def chest(*, noise=20.0, offset=0.0, scale=1.0, grain=0.6, m=3, seed=0) -> np.ndarray:
    """HU, int16 (m, 256, 256): a body of 50 HU in air with two lungs; HU = scale·(true + 1000) − 1000 + offset."""
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    hu = np.full((m, SIDE, SIDE), -1000.0)
    hu[:, (x / 105) ** 2 + (y / 75) ** 2 < 1] = 50
    for centre in (-50, 50):
        hu[:, ((x - centre) / 32) ** 2 + (y / 50) ** 2 < 1] = -850
    white = np.random.default_rng(seed).normal(size=hu.shape)
    white = np.stack([ndimage.gaussian_filter(one, grain) for one in white])
    hu = scale * (hu + 1000) - 1000 + offset + noise * white / white.std()
    return np.clip(np.rint(hu), -1024, 3071).astype(np.int16)


def volume(hu, pixel=PIXEL) -> Volume:
    grid = Geometry(hu.shape, np.array([-10.0, 20.0, -300.0]), AXES * np.array([[5.0], [pixel], [pixel]]))
    return Volume(hu, grid, "p", "s", None)


def test_air_is_measured_despite_clipping_padding_and_a_table():
    hu = chest(noise=25, offset=-12)
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    hu[:, y > 118] = -200  # table
    hu[:, np.hypot(x, y) > 150] = -2000  # outside the field of view
    assert (hu == -1024).mean() > 0.01
    assert abs(measured_air(hu, PIXEL**2) + 1012) < 1.5


@pytest.mark.parametrize("noise", [25.0, 45.0, 65.0])
@pytest.mark.parametrize("offset", [0.0, 20.0])
def test_noise_does_not_change_the_measured_air_of_a_scan_without_clipping(noise, offset):
    hu = chest(noise=0.0, offset=offset).astype(np.float64)
    hu += np.random.default_rng(0).normal(scale=noise, size=hu.shape)
    assert abs(measured_air(np.rint(hu).astype(np.int16), PIXEL**2) - (offset - 1000)) < 3


def test_normalised_air_and_tissue_have_their_reference_values():
    hu = chest(offset=-9, scale=1.04)
    air, note = normalised(hu, PIXEL**2, "air")
    assert air.dtype == np.int16
    assert note == "HU normalised: air -1009.0 → -1000 HU"
    np.testing.assert_array_equal(air, hu + 9)
    both, note = normalised(hu, PIXEL**2, "air,tissue")
    assert "tissue" in note
    assert abs(measured_air(both, PIXEL**2) + 1000) <= 1
    assert abs(measured_tissue(both, PIXEL**2) - 50) <= 1.5
    lung = lung_mask(both[0], PIXEL**2)
    assert abs(np.median(both[0][lung]) + 850) < 2
    assert abs(np.median(air[0][lung]) + 850) > 4  # the offset alone does not correct the scale


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda hu: hu[:, 70:186, 38:218], "cropped or masked scan"),
        (lambda hu: hu[:, 90:166, 48:208], "HU instead of -1050 to -960"),
        (lambda hu: np.where(hu < -900, np.int16(-1024), hu), r"100% of its pixels at -1024 HU \(clipped or padded\)"),
        (lambda hu: np.where(hu < -900, np.int16(-2000), hu), "got 0 pixels other than padding instead of 2000"),
        (lambda hu: np.where(hu < -900, hu + np.int16(90), hu), "got -910 HU instead of -1050 to -960"),
    ],
)
def test_air_that_cannot_be_measured_is_an_error(change, words):
    with pytest.raises(InputError, match=f"the air around the body must be measurable to normalise HU, .*{words}"):
        normalised(np.ascontiguousarray(change(chest())), PIXEL**2, "air")


def test_tissue_that_cannot_be_measured_is_an_error():
    hu = chest()
    fat = np.where(hu > -100, hu - np.int16(150), hu)
    with pytest.raises(InputError, match="a scan must show soft tissue of 0 to 100 HU"):
        normalised(fat, PIXEL**2, "air,tissue")
    with pytest.raises(InputError, match="a scan must show soft tissue"):
        reduced(fat, PIXEL**2, 10)


@pytest.mark.parametrize(("noise", "grain"), [(12, 0.5), (30, 0.7), (60, 0.8)])
def test_noise_is_measured_whatever_its_spectrum(noise, grain):
    assert abs(measured_noise(chest(noise=noise, grain=grain), PIXEL**2) - noise) < 0.08 * noise


@pytest.mark.parametrize(("noise", "grain"), [(30, 0.5), (50, 0.8)])
def test_noise_is_reduced_to_the_level(noise, grain):
    hu = chest(noise=noise, grain=grain)
    found, note = reduced(hu, PIXEL**2, 20)
    assert found.dtype == np.int16
    assert abs(measured_noise(found, PIXEL**2) - 20) < 2
    assert "reduced to 20 HU by a Gaussian filter of" in note
    assert abs(found.mean() - hu.mean()) < 0.5


def test_noise_below_the_level_is_not_changed():
    hu = chest(noise=15)
    found, note = reduced(hu, PIXEL**2, 20)
    assert found is hu
    assert "not reduced" in note


def test_noise_that_no_filter_of_two_mm_removes_is_an_error():
    with pytest.raises(InputError, match="must be reducible to the noise level of 2 HU by a filter of at most 2 mm"):
        reduced(chest(noise=60, grain=1.0), PIXEL**2, 2)


@pytest.mark.parametrize(
    ("n", "pixel", "common"), [(256, 1.4, 0.7), (512, 0.6, 0.75), (300, 1.0, 0.8), (512, 0.7, 0.7)]
)
def test_a_common_grid_keeps_places_and_areas(n, pixel, common):
    y, x = (np.mgrid[:n, :n] - (n - 1) / 2) * pixel  # mm from the centre
    disc = ((x - 30) / 60) ** 2 + ((y + 10) / 40) ** 2 < 1
    grid = Geometry((1, n, n), np.array([-5.0, 7.0, 0.0]), AXES * np.array([[5.0], [pixel], [pixel]]))
    field = Field.of(grid, common)
    hu = np.where(disc, 40, -1000).astype(np.int16)[None]
    found, labels = field.hounsfield(hu), field.labels(disc.astype(np.uint8)[None], 7)
    assert found.shape == labels.shape == (1, 512, 512)
    yy, xx = (np.mgrid[:512, :512] - 255.5) * common
    inside = (np.abs(yy) <= n * pixel / 2) & (np.abs(xx) <= n * pixel / 2)
    assert (found[0][~inside] == PADDING).all()
    assert (labels[0][~inside] == 7).all()
    expected = ((xx - 30) / 60) ** 2 + ((yy + 10) / 40) ** 2 < 1
    assert np.mean((labels[0] == 1) != expected) < 0.004
    area, true = np.count_nonzero(labels == 1) * common**2, np.count_nonzero(disc) * pixel**2
    assert abs(area / true - 1) < 0.01
    assert abs((found[0][inside] > -480).sum() * common**2 / true - 1) < 0.01
    moved = field.grid(grid)
    centre = (np.array(grid.shape) - 1) / 2 @ grid.steps + grid.origin
    np.testing.assert_allclose((np.array(moved.shape) - 1) / 2 @ moved.steps + moved.origin, centre, atol=1e-9)
    np.testing.assert_allclose(moved.spacing, [5.0, common, common])
    if n == 512 and pixel == common:
        np.testing.assert_array_equal(found, hu)


def test_weights_of_the_grid_are_means():
    for step in (0.4, 1.0, 1.7):
        sums = np.asarray(Axis(300, step).shares().sum(axis=1)).ravel()
        inside = Axis(300, step).inside()
        np.testing.assert_allclose(sums[inside], 1, rtol=1e-6)
        assert (sums[~inside] == 0).all()


def test_a_grid_that_cuts_the_lung_is_an_error():
    hu = chest()
    with pytest.raises(InputError, match=r"must contain the lung, got .* cm² of lung outside it .*: use a larger"):
        applied(volume(hu, pixel=1.4), Preparation(pixel_size=0.3))
    applied(volume(hu, pixel=1.4), Preparation(pixel_size=0.5))


def test_all_options_together_are_noted_in_order():
    found, onto_grid, notes = applied(volume(chest(offset=8)), Preparation("air", 0.7, 10))
    assert [note.split()[0] for note in notes] == ["HU", "pixels", "noise"]
    assert found.hu.shape == (3, 512, 512)
    assert found.pixel_area == pytest.approx(0.49)
    assert onto_grid(np.ones((3, SIDE, SIDE), np.uint8), 0).shape == (3, 512, 512)
    assert abs(measured_noise(found.hu, found.pixel_area) - 10) < 1


def test_without_options_nothing_changes():
    given = volume(chest())
    found, onto_grid, notes = applied(given, Preparation())
    labels = np.zeros((3, 2, 2))
    assert found is given
    assert onto_grid(labels, 0) is labels
    assert notes == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"normalise": "blood"}, 'normalise must be air or air,tissue, got "blood"'),
        ({"pixel_size": 0.1}, "pixel size must be 0.3 to 2 mm, got 0.1"),
        ({"noise_level": 0.0}, "noise level must be 1 to 200 HU, got 0.0"),
        ({"noise_level": float("nan")}, "noise level must be 1 to 200 HU, got nan"),
    ],
)
def test_options_outside_their_range_are_errors(options, words):
    with pytest.raises(InputError, match=words):
        Preparation(**options)


def test_options_are_stored_as_text():
    options = Preparation("air,tissue", 0.75, 20.0)
    assert Preparation.of_text(options.to_text()) == options
    assert Preparation.of_text("{}") == Preparation()
    with pytest.raises(InputError, match="got \\['sharpen'\\]: update ildfv"):
        Preparation.of_text('{"sharpen": 1}')
    with pytest.raises(InputError, match=r"prepared with --normalise air,tissue .*, got none of --normalise"):
        check_same(options, replace(options, normalise=None, pixel_size=None, noise_level=None), "must be prepared")


def test_the_mode_is_where_values_are_densest():
    rng = np.random.default_rng(0)
    assert abs(mode(np.concatenate([rng.normal(20, 1, 3000), rng.uniform(20, 200, 3000)])) - 20) < 0.6
    assert mode(np.array([3.0, 3.0, 3.0, 9.0])) == 3.0
