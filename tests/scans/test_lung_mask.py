"""The lung mask contains lungs with their vessels, but no gas or air elsewhere."""

import numpy as np
import pytest

from ildfv.datasets.convert import scan_slices
from ildfv.datasets.discovery import discover
from ildfv.errors import InputError
from ildfv.scans.lungs import check_lung, lung_at_border, lung_mask


def test_both_lungs_are_found_and_nothing_else(files):
    hu = files.chest()
    y, x = np.mgrid[:64, :64]
    body = ((x - 32) / 29) ** 2 + ((y - 32) / 22) ** 2 < 1
    for slice_ in hu:
        np.testing.assert_array_equal(lung_mask(slice_, 16.0), body & (slice_ < -600))


def test_vessels_inside_the_lung_count_as_lung(files):
    slice_ = files.chest()[0]
    before = np.count_nonzero(lung_mask(slice_, 16.0))
    slice_[28:31, 17:20] = 60
    assert np.count_nonzero(lung_mask(slice_, 16.0)) == before


def test_gas_in_the_body_and_air_around_it_are_not_lung(files):
    slice_ = files.chest()[0]
    slice_[:] = np.where(slice_ > -950, 40, slice_)  # a body without lungs
    slice_[20:30, 20:30] = -1000
    assert not lung_mask(slice_, 16.0).any()
    assert not lung_mask(np.full((64, 64), -1000, np.int16), 16.0).any()
    assert not lung_mask(np.full((64, 64), 40, np.int16), 16.0).any()


def test_the_table_at_the_border_is_not_lung(files):
    slice_ = files.chest()[0]
    before = np.count_nonzero(lung_mask(slice_, 16.0))
    slice_[58:62] = -850  # a foam mattress from edge to edge
    assert np.count_nonzero(lung_mask(slice_, 16.0)) == before


def test_a_scan_must_show_ten_square_centimetres_somewhere():
    check_lung(np.array([0, 63, 0]), 16.0)
    with pytest.raises(InputError, match=r"at least 10 cm² in one slice, got 9\.92 cm²"):
        check_lung(np.array([0, 62, 0]), 16.0)


def test_lung_at_the_border_is_described_where_no_other_lung_is_found(tmp_path, files):
    hu = files.chest()[:, 18:46, 10:55]  # the box around the lungs
    files.nifti(tmp_path / "ct.nii.gz", hu)
    (scan,) = discover(tmp_path, labels=False).scans
    with pytest.raises(InputError, match=r"got 0 cm² and another \d+ cm² at the border.*use the uncropped scan"):
        scan_slices(scan, None, "0123456789abcdef")


def test_air_around_the_body_is_not_lung_at_the_border(files):
    assert lung_at_border(files.chest()[0], 16.0) == 0
    assert lung_at_border(files.chest()[0][18:46, 10:55], 16.0) > 300
    body = np.full((64, 64), 40, np.int16)
    assert lung_at_border(body, 16.0) == 0
    with pytest.raises(InputError, match=r"got 0 cm²$"):
        check_lung(np.zeros(3), 16.0, np.zeros(3))
