"""Real CT (--real-data): every volume is read, or refused for the right reason."""

import numpy as np
import pytest
from preparing import prepare

from ildfv.datasets.slice_store import Slices
from ildfv.errors import InputError
from ildfv.patterns import UNLABELLED
from ildfv.scans.dicom import assemble, read_series
from ildfv.scans.labels import MEANINGS, Codes
from ildfv.scans.lungs import lung_mask
from ildfv.scans.read_header import read_header
from ildfv.scans.volumefiles import read_file, read_label_file


def series(folder):
    return read_series(assemble([read_header(path) for path in sorted(folder.iterdir())]))


def volume(path):
    return read_file(path, "nrrd", patient_id="p", series_id="s")


def litres(v):
    lung = sum(np.count_nonzero(lung_mask(slice_, v.pixel_area)) for slice_ in v.hu)
    return lung * v.pixel_area * v.spacing[0] / 1e6


def test_a_scanners_own_padding_is_kept(real_data):
    v = series(real_data / "cip" / "simple_dicom")
    assert v.hu.shape == (2, 512, 512)
    assert (v.hu.min(), v.hu.max()) == (-3024, 1219)
    np.testing.assert_allclose(v.spacing, [0.625, 0.703125, 0.703125])
    np.testing.assert_allclose(v.positions, [-286.75, -286.125])


def test_a_dicom_series_equals_its_nrrd_voxel_by_voxel(real_data):
    nrrd, dicom = volume(real_data / "cip" / "ct-64.nrrd"), series(real_data / "cip" / "ct-64Dicom")
    assert nrrd.hu.shape == (79, 64, 64)
    np.testing.assert_array_equal(dicom.hu, nrrd.hu)
    np.testing.assert_allclose(dicom.positions, nrrd.positions, atol=1e-3)


def test_the_platforms_label_map_is_translated(real_data):
    values = read_label_file(real_data / "cip" / "lm-64.nrrd", "nrrd")
    meanings = Codes.load("cip").translate(values)
    assert {MEANINGS[i] for i in np.unique(meanings)} == {"outside", "other"}  # vessels and airways are not patterns
    assert np.count_nonzero(meanings) == np.count_nonzero(values >> 8)


@pytest.mark.parametrize(("name", "shape"), [("lung1", (48, 512, 512)), ("lung2", (61, 512, 512))])
def test_whole_chests_show_a_plausible_volume_of_lung(real_data, name, shape):
    v = volume(real_data / "pyradiomics" / f"{name}_image.nrrd")
    assert v.hu.shape == shape
    assert v.hu.min() == -1024
    assert 2 < litres(v) < 7


def test_slices_without_a_modality_are_refused(real_data):
    with pytest.raises(InputError, match=r"0\.dcm: Modality must be CT, got none"):
        series(real_data / "lungmask")


def test_prepare_reports_every_file(real_data, tmp_path):
    report = prepare(real_data, tmp_path / "out", codes="cip", salt="0123456789abcdef")

    def name(entry):
        return entry.source.relative_to(real_data).as_posix()

    assert {name(scan): scan.slices for scan in report.prepared} == {
        "cip/ct-64Dicom": 79,
        "pyradiomics/lung1_image.nrrd": 48,
        "pyradiomics/lung2_image.nrrd": 61,
    }
    assert {name(left): left.reason.split(",")[0].split("(")[0].strip() for left in report.quarantined} == {
        "cip/crop_ct_partialLungLabelMap.nrrd": "a label map must have the name of its scan",
        "cip/ct-64.nrrd": "must not duplicate another scan",
        "cip/crop_ct_2slices.nrrd": "its patient must have one identity",  # the same folder as ct-64.nrrd
        "cip/simple_dicom": "a scan must show lung",  # two slices of an abdomen
        "lungmask": "0.dcm: Modality must be CT",
    }
    assert not any(scan.labelled for scan in report.prepared)
    slices = Slices(tmp_path / "out")
    assert len(slices) == 188
    assert (slices.counts == UNLABELLED).all()
    n_files = sum(path.is_file() for path in real_data.rglob("*"))
    labels = sum(len(scan.labels) for scan in report.prepared)
    left = sum(entry.files for entry in report.quarantined + report.ignored)
    scans = sum(scan.slices if scan.source.is_dir() else 1 for scan in report.prepared)  # DICOM: one file per slice
    assert scans + labels + left == n_files
