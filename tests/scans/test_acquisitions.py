"""Acquisitions of one series that interleave or repeat positions are separate scans, contiguous ones are one scan."""

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from ildfv.datasets.discovery import discover
from ildfv.errors import InputError
from ildfv.scans.dicom import assemble, read_series
from ildfv.scans.read_header import read_header

CONSTANT = {
    "AcquisitionNumber": (1, 2),
    "AcquisitionTime": ("100000", "100500"),
    "IrradiationEventUID": ("1.2.3.1", "1.2.3.2"),
    "AcquisitionUID": ("1.2.3.1", "1.2.3.2"),
    "FrameOfReferenceUID": ("1.2.3.1", "1.2.3.2"),
    "ContrastBolusAgent": ("", "iodine"),
    "ConvolutionKernel": ("B30f", "B70f"),
    "TemporalPositionIndex": (1, 2),
    "NominalPercentageOfCardiacPhase": (30, 70),
    "NominalPercentageOfRespiratoryPhase": (0.0, 50.0),
    "TriggerTime": ("120", "480"),
    "StudyInstanceUID": ("1.2.4.1", "1.2.4.2"),
    "SeriesNumber": ("3", "4"),
    "SeriesDescription": ("inspiration", "expiration"),
    "ProtocolName": ("inspiration", "expiration"),
    "PatientPosition": ("HFS", "HFP"),
    "FilterType": ("HEAD FILTER", "BODY FILTER"),
    "ReconstructionDiameter": ("350", "400"),
    "ScanOptions": ("HELICAL MODE", "AXIAL MODE"),
    "KVP": ("80", "140"),
    "SliceThickness": ("1", "5"),
    "ImageType": (["ORIGINAL", "PRIMARY", "AXIAL"], ["DERIVED", "PRIMARY", "AXIAL", "VMI"]),
}


def passes(folder, files, values, *, offset=2.5, contiguous=False):
    """Writes two passes of six slices as one series. values(number, z): the tags of slice z of pass `number`."""
    series, both = generate_uid(), []
    for number in (0, 1):
        hu = files.chest(seed=number)
        both.append(hu)

        def change(z, dataset, number=number):
            shift = 5.0 * 6 * number if contiguous else offset * number
            dataset.ImagePositionPatient[2] += shift
            for name, value in values(number, z).items():
                setattr(dataset, name, value)
            return dataset

        files.series(folder / f"pass{number}", hu, series=series, change=change)
    return both


def read(folder):
    found = discover(folder)
    assert not found.quarantined
    assert len({scan.series for scan in found.scans}) == len(found.scans)
    return [read_series(scan.dicom).hu for scan in found.scans]


@pytest.mark.parametrize("offset", [2.5, 0.0, 5.0], ids=["interleaved", "repeated", "shifted by one slice"])
@pytest.mark.parametrize("name", CONSTANT)
def test_passes_that_differ_in_one_tag_are_two_scans(tmp_path, files, name, offset):
    both = passes(tmp_path, files, lambda number, z: {name: CONSTANT[name][number]}, offset=offset)
    for got, true in zip(read(tmp_path), both, strict=True):
        np.testing.assert_array_equal(got, true)


@pytest.mark.parametrize("turn", [1, -1], ids=["up, up", "up, down"])
@pytest.mark.parametrize("name", ["AcquisitionTime", "AcquisitionNumber", "InstanceNumber"])
def test_passes_are_separated_by_the_order_of_values_that_differ_in_every_slice(tmp_path, files, name, turn):
    def value(number, z):
        at = 100000 + 50 * number + (z if number == 0 or turn > 0 else 5 - z)
        return {name: str(at) if name == "AcquisitionTime" else at - 99999}

    both = passes(tmp_path, files, value)
    for got, true in zip(read(tmp_path), both, strict=True):
        np.testing.assert_array_equal(got, true)


@pytest.mark.parametrize("name", CONSTANT)
def test_contiguous_acquisitions_are_one_scan(tmp_path, files, name):
    both = passes(tmp_path, files, lambda number, z: {name: CONSTANT[name][number]}, contiguous=True)
    (got,) = read(tmp_path)
    np.testing.assert_array_equal(got, np.concatenate(both))


@pytest.mark.parametrize("order", ["one shot per slice", "two slices per shot", "no order"])
def test_step_and_shoot_and_shuffled_times_are_one_scan(tmp_path, files, order):
    hu = files.chest(12)
    shuffled = np.random.default_rng(0).permutation(12)

    def change(z, dataset):
        shot = {"one shot per slice": z, "two slices per shot": z // 2, "no order": shuffled[z]}[order]
        dataset.AcquisitionNumber, dataset.AcquisitionTime = int(shot) + 1, f"1000{shot:02d}"
        return dataset

    files.series(tmp_path, hu, change=change)
    (got,) = read(tmp_path)
    np.testing.assert_array_equal(got, hu)


def test_the_name_of_an_acquisition_contains_no_free_text(tmp_path, files):
    passes(tmp_path, files, lambda number, z: {"SeriesDescription": ("Doe John in", "Doe John out")[number]})
    names = [scan.dicom.acquisition for scan in discover(tmp_path).scans]
    assert len(set(names)) == 2
    assert all(name.startswith("SeriesDescription ") and "Doe" not in name for name in names)


def test_numbers_with_different_spellings_are_equal_values(tmp_path, files):
    def change(z, dataset):
        dataset.KVP, dataset.SliceThickness = (("120", "5"), ("120.0", "5.000"))[z % 2]
        dataset.GantryDetectorTilt = ("0", "-0.0")[z % 2]
        return dataset

    files.series(tmp_path, files.chest(), change=change)
    (got,) = read(tmp_path)
    np.testing.assert_array_equal(got, files.chest())


def test_an_uneven_pass_is_refused_and_the_other_pass_is_read(tmp_path, files):
    passes(tmp_path, files, lambda number, z: {"AcquisitionNumber": number})
    for path in (tmp_path / "pass1").iterdir():
        if read_header(path).frames[0].position[2] == -300 + 2.5 + 10:
            path.unlink()
    found = discover(tmp_path)
    assert [scan.source.name for scan in found.scans] == ["pass0"]
    assert [left.source.name for left in found.quarantined] == ["pass1"]
    assert "slices missing: 1" in found.quarantined[0].reason


def test_a_series_of_two_acquisitions_is_refused_where_one_is_required(tmp_path, files):
    passes(tmp_path, files, lambda number, z: {"AcquisitionNumber": number})
    with pytest.raises(InputError, match=r"one acquisition, got 2 at interleaved .*AcquisitionNumber 0; Acq"):
        assemble([read_header(path) for path in sorted(tmp_path.rglob("*.dcm"))])


def test_frames_of_two_times_in_one_file_are_two_scans(tmp_path, files):
    from test_dicom_series import enhanced

    hu = np.concatenate([files.chest(seed=0), files.chest(seed=1)])
    dataset = enhanced(files, hu)
    for i, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        z = len(hu) - 1 - i
        group.PlanePositionSequence[0].ImagePositionPatient[2] = -300 + 5.0 * (z % 6)
        content = Dataset()
        content.TemporalPositionIndex = z // 6 + 1
        group.FrameContentSequence = [content]
    dataset.save_as(tmp_path / "dynamic.dcm", enforce_file_format=True)
    first, second = read(tmp_path)
    np.testing.assert_array_equal(first, hu[:6])
    np.testing.assert_array_equal(second, hu[6:])
