"""Extreme values of metal and padding are limited; unscaled, shifted and wrongly signed scans are refused."""

import numpy as np
import pytest

from ildfv.errors import InputError
from ildfv.scans.dicom import assemble, read_series
from ildfv.scans.read_header import read_header
from ildfv.scans.volumefiles import read_file

y, x = np.mgrid[:64, :64]
OUTSIDE = (x - 31.5) ** 2 + (y - 31.5) ** 2 > 31.5**2


def series(folder, files, stored, **tags):
    def change(z, dataset):
        dataset.PixelData = stored[z].tobytes()
        return dataset

    paths = files.series(folder, files.chest(len(stored)), change=change, **tags)
    return read_series(assemble([read_header(path) for path in paths])).hu


@pytest.mark.parametrize("value", [20001, 43030, 64000])
def test_metal_is_limited_and_all_other_values_are_kept(tmp_path, files, value):
    hu = files.chest().astype(np.int32)
    hu[:, 30:32, 30:32] = value
    stored = (hu + 1024).astype(np.uint16)
    got = series(tmp_path, files, stored, PixelRepresentation=0)
    assert got.dtype == np.int16
    np.testing.assert_array_equal(got, np.minimum(hu, 20000))


def test_an_extended_scale_is_read(tmp_path, files):
    hu = np.round(files.chest() / 10).astype(np.int32) * 10
    hu[:, 30:32, 30:32], hu[:, OUTSIDE] = 30710, -10240
    got = series(tmp_path, files, ((hu + 10240) // 10).astype(np.int16), RescaleSlope=10, RescaleIntercept=-10240)
    np.testing.assert_array_equal(got, np.clip(hu, -3024, 20000))


@pytest.mark.parametrize("value", [-32768, -8000, -4096])
@pytest.mark.parametrize("declared", [False, True])
def test_background_is_raised_whether_or_not_it_is_declared(tmp_path, files, value, declared):
    stored = (files.chest() + 1024).astype(np.int16)
    stored[:, OUTSIDE] = value
    got = series(tmp_path, files, stored, **({"PixelPaddingValue": value} if declared else {}))
    assert (got[:, OUTSIDE] == -3024).all()
    np.testing.assert_array_equal(got[:, ~OUTSIDE], files.chest()[:, ~OUTSIDE])


def test_negative_padding_in_unsigned_pixels_is_not_read_as_metal(tmp_path, files):
    stored = (files.chest() + 1024).astype(np.int16)
    stored[:, OUTSIDE] = -2000
    with pytest.raises(InputError, match="HU must be above 700 in at most 10%"):
        series(tmp_path / "a", files, stored, PixelRepresentation=0)
    got = series(tmp_path / "b", files, stored, PixelRepresentation=0, PixelPaddingValue=63536)
    assert (got[:, OUTSIDE] == -3024).all()


@pytest.mark.parametrize("background", [None, -32768, -1000, -1024])
@pytest.mark.parametrize("shift", [-1024, 1000, 1024])
def test_a_shifted_scan_is_refused_with_any_background(tmp_path, files, shift, background):
    stored = (files.chest() + 1024).astype(np.int16)
    if background is not None:
        stored[:, OUTSIDE] = background
    with pytest.raises(InputError, match="HU must"):
        series(tmp_path, files, stored, RescaleIntercept=-1024 + shift)


@pytest.mark.parametrize("slope", [0.1, 3, 10, 50])
def test_another_scale_is_refused(tmp_path, files, slope):
    with pytest.raises(InputError, match="HU must"):
        series(tmp_path, files, (files.chest() + 1024).astype(np.int16), RescaleSlope=slope)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_volume_files_have_the_same_limits(tmp_path, files, dtype):
    hu = files.chest().astype(dtype)
    hu[:, 30:32, 30:32], hu[:, OUTSIDE] = 43030, -32768
    got = read_file(files.nrrd(tmp_path / "ct.nrrd", hu), "nrrd", patient_id="p", series_id="s").hu
    assert got.dtype == np.int16
    np.testing.assert_array_equal(got, np.clip(hu, -3024, 20000))


def test_values_between_integers_stay_floats(tmp_path, files):
    hu = files.chest().astype(np.float32) + np.float32(0.25)
    hu[:, OUTSIDE] = -32768
    got = read_file(files.nrrd(tmp_path / "ct.nrrd", hu), "nrrd", patient_id="p", series_id="s").hu
    np.testing.assert_array_equal(got, np.maximum(hu, -3024))


@pytest.mark.parametrize("tags", [{"RescaleSlope": "1e300"}, {"RescaleIntercept": "-1e300"}, {"RescaleSlope": "1e10"}])
def test_an_extremely_large_slope_or_intercept_is_refused(tmp_path, files, tags):
    with pytest.raises(InputError, match="slope and intercept to HU must be at most"):
        series(tmp_path, files, (files.chest() + 1024).astype(np.int16), **tags)
