"""A slice whose values are shifted against the others is refused; anatomy, contrast, metal and padding are not."""

import numpy as np
import pytest

from ildfv.errors import InputError
from ildfv.scans.shifted import check_slices

Y, X = np.mgrid[:64, :64]
POSITIONS = np.arange(6) * 2.0
OUTSIDE = (X - 31.5) ** 2 + (Y - 31.5) ** 2 > 31.5**2


@pytest.fixture
def chest(files):
    return files.chest(6).astype(np.int32)


@pytest.mark.parametrize("shift", [1024, 1000, 2048, -1024, 400])
@pytest.mark.parametrize("padding", [None, -2000, -3024])
def test_shifted_slices_are_refused_with_their_positions(chest, shift, padding):
    if padding is not None:
        chest[:, OUTSIDE] = padding
    chest[[1, 4]] += shift
    with pytest.raises(InputError, match=r"got 2 of 6 slices shifted .*, at 2, 8 mm"):
        check_slices(chest, POSITIONS)


def test_a_shifted_slice_of_the_shoulders_is_refused(chest):
    chest[5][chest[5] < -700] = np.where(Y > 4, 60, -1000)[chest[5] < -700]
    check_slices(chest, POSITIONS)
    chest[5] += 1024
    with pytest.raises(InputError, match=r"got 1 of 6 slices shifted .*, at 10 mm"):
        check_slices(chest, POSITIONS)


def test_slices_shifted_up_and_down_are_reported_with_both_shifts(chest):
    chest[1] += 1024
    chest[4] -= 1024
    with pytest.raises(InputError, match=r"got 2 of 6 slices shifted by about \+1025 or -1025 HU, at 2, 8 mm: correct"):
        check_slices(chest, POSITIONS)


@pytest.mark.parametrize("value", [300, 800, 3000, 20000, -1000, -300])
@pytest.mark.parametrize("side", [4, 16, 24])
def test_contrast_metal_and_disease_in_one_slice_are_not_taken_for_a_shift(chest, value, side):
    chest[2, 32 - side // 2 : 32 + side // 2, 32 - side // 2 : 32 + side // 2] = value
    check_slices(chest, POSITIONS)


@pytest.mark.parametrize("value", [-3024, -2000, -1024, 0, 40])
def test_empty_slices_are_not_taken_for_a_shift(chest, value):
    chest[5] = value
    check_slices(chest, POSITIONS)


def test_a_shifted_file_of_a_series_is_refused(tmp_path, files):
    from ildfv.scans.dicom import assemble, read_series
    from ildfv.scans.read_header import read_header

    hu = files.chest()
    hu[3] += 1024
    with pytest.raises(InputError, match="HU of all slices must be on one scale"):
        read_series(assemble([read_header(path) for path in files.series(tmp_path, hu)]))
