"""The C++ loops over slices give the bytes of their specifications in NumPy and SciPy."""

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from ildfv.kernels import slices
from ildfv.phantom.difficulty import patient_of
from ildfv.phantom.scanner import Scanner
from ildfv.scans.body import OPENING, TISSUE, body_mask
from ildfv.scans.density import BINS, COLUMNS, HIGH, RANGE, density
from ildfv.scans.labels import MEANINGS, meaning_counts
from ildfv.scans.lungs import AERATED, GAS, MIN_REGION_AREA, lung_at_border, lung_mask
from ildfv.scans.windows import reference, windowed

SHAPES = [(512, 512), (300, 200), (200, 301), (224, 224), (64, 40), (1, 1), (1, 9), (7, 1), (768, 767), (1030, 512)]


def smooth_noise(random, shape, blur):
    """HU (rows, columns) with regions whose size grows with `blur`, from −1100 to 400."""
    field = ndimage.gaussian_filter(random.standard_normal(shape), blur)
    return -350 + 700 * field / (np.abs(field).max() + 1e-9)


def border_of(regions):
    return np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]])


def labelled_lung(hu, pixel_area):
    """The rule of `lung_mask` and `lung_at_border` with SciPy's connected regions."""
    aerated = hu < AERATED
    regions, n = ndimage.label(aerated)
    inside = regions[aerated]
    area = np.bincount(inside, minlength=n + 1)
    mean = np.bincount(inside, weights=hu[aerated], minlength=n + 1) / np.maximum(area, 1)
    is_lung = (area * pixel_area >= MIN_REGION_AREA) & (mean > GAS)
    is_lung[0] = False
    at_border = np.zeros(n + 1, bool)
    at_border[border_of(regions)] = True
    mask = (is_lung & ~at_border)[regions]
    background, n = ndimage.label(~mask)
    hole = np.ones(n + 1, bool)
    hole[0] = False
    hole[border_of(background)] = False
    return mask | hole[background], int(np.count_nonzero((is_lung & at_border)[regions]))


def check_lung_of(hu, pixel_area):
    mask, at_border = labelled_lung(hu, pixel_area)
    found = lung_mask(hu, pixel_area)
    assert found.dtype == bool
    np.testing.assert_array_equal(found, mask)
    assert lung_at_border(hu, pixel_area) == at_border
    return mask


def densities(hu, lung):
    """The definition of `density` in NumPy, in double precision."""
    inside = hu[lung].astype(np.float64)
    counts, _ = np.histogram(np.clip(inside, *RANGE), bins=BINS, range=RANGE)
    scalars = [np.mean(inside < -950), np.percentile(inside, 15), inside.mean()]
    high = np.mean((inside >= HIGH[0]) & (inside <= HIGH[1]))
    return np.array([*scalars, high, *(counts / inside.size)], np.float32)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize("shape", SHAPES)
def test_windows_have_the_bytes_of_the_specification(shape, dtype):
    hu = np.random.default_rng(sum(shape)).uniform(-1500, 500, shape).astype(dtype)
    np.testing.assert_array_equal(windowed(hu), reference(hu))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 90), st.integers(1, 90), st.integers(1, 70), st.sampled_from(["i2", ">i2", "f4", "f8", "i4"]),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_windows_of_any_shape_size_and_dtype_have_the_bytes_of_the_specification(h, w, size, dtype, seed):
    hu = np.random.default_rng(seed).uniform(-1500, 500, (h, w)).astype(dtype)
    for view in (hu, hu.T, hu[::-1, ::2]):
        np.testing.assert_array_equal(windowed(view, size=size), reference(view, size=size))


def test_windows_of_stacks_views_and_extreme_values_have_the_bytes_of_the_specification():
    volume = np.random.default_rng(0).integers(-32768, 32767, (2, 3, 40, 50)).astype(np.int16)
    for hu in (volume, volume[..., ::2], volume[:0]):
        np.testing.assert_array_equal(windowed(hu), reference(hu))
    hu = np.array([[-3e38, 3e38], [np.inf, -np.inf]], np.float32)
    np.testing.assert_array_equal(windowed(hu, size=8), reference(hu, size=8))


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64, np.int32])
@pytest.mark.parametrize("blur", [0, 1, 3, 9])
def test_lung_is_that_of_scipys_connected_regions(blur, dtype):
    random = np.random.default_rng(blur)
    found = [
        check_lung_of(smooth_noise(random, shape, blur).astype(dtype), area)
        for shape in ((120, 90), (1, 30), (30, 1), (2, 2))
        for area in (0.5, 20.0, 200.0)
    ]
    assert any(mask.any() for mask in found)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 24), st.integers(1, 24), st.floats(0.05, 0.95), st.integers(0, 2**32 - 1))
def test_lung_of_scattered_pixels_is_that_of_scipys_connected_regions(h, w, share, seed):
    random = np.random.default_rng(seed)
    check_lung_of(np.where(random.random((h, w)) < share, -800, 40).astype(np.int16), 40.0)


@pytest.mark.parametrize("number", [2, 5])
def test_lung_and_densities_of_phantoms_are_those_of_numpy_and_scipy(number):
    scanner = Scanner(patient_of(1, number))
    hu, _ = scanner.slice(0.5 * scanner.patient.height)
    hu = hu.astype(np.int16)
    mask = check_lung_of(hu, 0.5)
    assert mask.any()
    np.testing.assert_array_equal(density(hu, mask), densities(hu, mask))


def test_lung_of_real_slices_is_that_of_scipys_connected_regions(real_data):
    files = sorted((real_data / "lungmask").glob("*.dcm"))
    assert files
    for path in files:
        dataset = pydicom.dcmread(path)
        slope, intercept = float(dataset.RescaleSlope), float(dataset.RescaleIntercept)
        hu = (dataset.pixel_array * slope + intercept).astype(np.int16)
        for part in (hu, hu[100:400, 60:450]):  # with air around the body, and cropped
            mask = check_lung_of(part, float(np.prod(dataset.PixelSpacing)))
            if mask.any():
                np.testing.assert_array_equal(density(part, mask), densities(part, mask))
            np.testing.assert_array_equal(windowed(part), reference(part))


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 400), st.integers(1, 2000), st.integers(0, 2**32 - 1))
def test_densities_from_a_histogram_have_the_bits_of_the_definition(n, spread, seed):
    random = np.random.default_rng(seed)
    hu = np.clip(random.normal(-800, spread, (1, 2 * n)), -3024, 20000).astype(np.int16)
    lung = random.permutation(2 * n)[None] < n
    found = density(hu, lung)
    assert found.shape == (len(COLUMNS),)
    np.testing.assert_array_equal(found, densities(hu, lung))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
def test_histograms_and_look_ups_are_those_of_numpy(dtype):
    random = np.random.default_rng(0)
    for n in (0, 1, 3, 4, 5, 1001):
        values = random.integers(0, 7, n).astype(dtype)
        mask = random.random(n) < 0.5
        np.testing.assert_array_equal(slices.histogram(values, 0, 6), np.bincount(values, minlength=7))
        np.testing.assert_array_equal(slices.histogram(values, 0, 6, mask), np.bincount(values[mask], minlength=7))
        if dtype != np.int16:
            table = random.integers(0, 255, 7).astype(np.uint8)
            np.testing.assert_array_equal(slices.look_up(table, values), table[values])
    lowest = np.array([-32768, 32767, -32768], np.int16)
    counts = slices.histogram(lowest, -32768, 32767)
    assert (counts[0], counts[-1], counts.sum()) == (2, 1, 3)


def test_meanings_are_counted_slice_by_slice():
    meanings = np.random.default_rng(0).integers(0, len(MEANINGS), (3, 20, 30)).astype(np.uint8)
    expected = [np.bincount(slice_.ravel(), minlength=len(MEANINGS)) for slice_ in meanings]
    np.testing.assert_array_equal(meaning_counts(meanings), expected)


def scipy_body(hu):
    """The rule of `body_mask` with SciPy's morphology."""
    regions, n = ndimage.label(ndimage.binary_opening(hu > TISSUE, iterations=OPENING))
    if n == 0:
        return np.zeros(hu.shape, bool)
    return ndimage.binary_fill_holes(regions == np.bincount(regions.ravel())[1:].argmax() + 1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("blur", [0, 1, 4, 12])
def test_the_body_is_that_of_scipy(shape, blur):
    hu = smooth_noise(np.random.default_rng(blur), shape, blur)
    for values in (hu, hu.astype(np.int16), hu - 150, np.full(shape, -1000.0), np.full(shape, 40, np.int16)):
        assert np.array_equal(body_mask(values), scipy_body(values))


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40), st.integers(0, 13))
@settings(max_examples=60, deadline=None)
def test_erosion_and_dilation_are_those_of_scipy(seed, rows, columns, times):
    mask = np.random.default_rng(seed).random((rows, columns)) < 0.5
    before = mask.copy()
    for ours, theirs in ((slices.eroded, ndimage.binary_erosion), (slices.dilated, ndimage.binary_dilation)):
        expected = theirs(mask, iterations=times) if times else mask  # SciPy repeats 0 times until nothing changes
        assert np.array_equal(ours(mask, times), expected)
    assert np.array_equal(mask, before)


def test_of_equal_regions_the_first_is_the_largest():
    mask = np.zeros((5, 7), bool)
    mask[1:3, 4:6] = mask[2:4, 0:2] = True
    expected = np.zeros_like(mask)
    expected[1:3, 4:6] = True
    assert np.array_equal(slices.largest_region(mask), expected)
    assert not slices.largest_region(np.zeros((0, 3), bool)).size
