"""Densitometry of lungs of known HU, compared with values computed by hand."""

import numpy as np

from ildfv.scans.density import BINS, COLUMNS, SCALARS, density

LUNG = np.zeros((20, 20), bool)
LUNG[5:15, 5:15] = True


def of(values):
    """Density measures by name, of a lung that consists of these 100 HU values, inside soft tissue."""
    hu = np.full(LUNG.shape, 40, np.int16)
    hu[LUNG] = values
    return dict(zip(COLUMNS, density(hu, LUNG).tolist(), strict=True))


def test_shares_percentile_and_mean_equal_those_computed_by_hand():
    found = of(np.repeat([-980, -900, -500, 100], [10, 70, 15, 5]))
    assert found["laa-950"] == np.float32(0.10)
    assert found["haa"] == np.float32(0.15)
    assert found["p15"] == -900
    assert found["mean-density"] == np.float32(-98 - 630 - 75 + 5)


def test_the_histogram_counts_every_pixel_of_the_lung_once():
    found = of(np.repeat([-1024, -999, 3000], [20, 30, 50]))
    bins = [found[f"bin-{i}"] for i in range(BINS)]
    assert bins[0] == 0.5  # values outside its range count in the outer bins
    assert bins[-1] == 0.5
    assert sum(bins) == 1


def test_pixels_outside_the_lung_do_not_count():
    hu = np.full(LUNG.shape, -850, np.int16)
    other = np.where(LUNG, hu, 1000)
    np.testing.assert_array_equal(density(hu, LUNG), density(other, LUNG))


def test_a_slice_without_lung_has_no_densities():
    assert np.isnan(density(np.zeros((4, 4)), np.zeros((4, 4), bool))).all()
    assert COLUMNS[: len(SCALARS)] == SCALARS
