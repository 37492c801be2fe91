"""A DICOM SEG of a series that was divided into acquisitions: each frame belongs to the one on whose slice it lies."""

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from ildfv.datasets.discovery import discover
from ildfv.datasets.read_labels import read_labels
from ildfv.datasets.settings import ScanSettings
from ildfv.scans.labels import Codes

NAMES = {1: "healthy", 2: "ground glass", 5: "emphysema"}


def two_passes(folder, files, offset):
    """Two passes of one series with different label codes, and a SEG of each pass in the folder segs."""
    series = generate_uid()
    for number in (0, 1):

        def change(z, dataset, number=number):
            dataset.ImagePositionPatient[2] += offset * number
            dataset.AcquisitionNumber = number + 1
            return dataset

        files.series(folder / f"pass{number}", files.chest(seed=number), series=series, change=change)
    codes = [files.codes(files.chest(seed=0)), np.roll(files.codes(files.chest(seed=1)), 1, axis=1)]
    for number in (0, 1):
        files.seg(folder / f"segs/{number}.dcm", folder / f"pass{number}", codes[number], NAMES)
    return codes


def derived_from_slices(path, folder):
    """Adds the reference of each frame to the slice that it was derived from, as most programs write it."""
    instances = {round(float((one := dcmread(file)).ImagePositionPatient[2]), 3): one for file in folder.iterdir()}
    seg = dcmread(path)
    for group in seg.PerFrameFunctionalGroupsSequence:
        derivation, source = Dataset(), Dataset()
        at = round(float(group.PlanePositionSequence[0].ImagePositionPatient[2]), 3)
        source.ReferencedSOPInstanceUID = instances[at].SOPInstanceUID
        derivation.SourceImageSequence, group.DerivationImageSequence = [source], [derivation]
    seg.save_as(path)


def meanings(scan):
    return read_labels(scan, scan.geometry, Codes.load("phantom"))


def translated(codes):
    return Codes.load("phantom").translate(codes)


def check_each_has_its_own(folder, codes):
    found = discover(folder, ScanSettings(codes=Codes.load("phantom")))
    assert not found.quarantined
    assert [scan.dicom.acquisition for scan in found.scans] == ["AcquisitionNumber 1", "AcquisitionNumber 2"]
    for scan, own in zip(found.scans, codes, strict=True):
        np.testing.assert_array_equal(meanings(scan), translated(own))


def test_frames_on_slices_of_one_acquisition_belong_to_it(tmp_path, files):
    check_each_has_its_own(tmp_path, two_passes(tmp_path, files, 2.5))


def test_one_seg_may_have_frames_of_both_acquisitions(tmp_path, files):
    codes = two_passes(tmp_path, files, 2.5)
    for path in (tmp_path / "segs").iterdir():
        path.unlink()
    both = np.empty((12, *codes[0].shape[1:]), np.uint8)
    both[0::2], both[1::2] = codes
    (tmp_path / "both").mkdir()
    for i, path in enumerate([*(tmp_path / "pass0").iterdir(), *(tmp_path / "pass1").iterdir()]):
        (tmp_path / f"both/{i}.dcm").write_bytes(path.read_bytes())
    files.seg(tmp_path / "segs/both.dcm", tmp_path / "both", both, NAMES)
    for path in (tmp_path / "both").iterdir():
        path.unlink()
    check_each_has_its_own(tmp_path, codes)


def test_at_shared_positions_frames_belong_to_the_slices_they_were_derived_from(tmp_path, files):
    codes = two_passes(tmp_path, files, 0.0)
    for number in (0, 1):
        derived_from_slices(tmp_path / f"segs/{number}.dcm", tmp_path / f"pass{number}")
    check_each_has_its_own(tmp_path, codes)


@pytest.mark.parametrize("offset", [0.0, 5.0])
def test_frames_that_may_belong_to_two_acquisitions_are_refused(tmp_path, files, offset):
    two_passes(tmp_path, files, offset)
    found = discover(tmp_path, ScanSettings(codes=Codes.load("phantom")))
    assert [len(scan.labels) for scan in found.scans] == [0, 0]
    for unused in found.quarantined:
        assert "must belong to one acquisition of its series, got several of AcquisitionNumber 1; Acq" in unused.reason
    assert {unused.source.name for unused in found.quarantined} == {"0.dcm", "1.dcm"}


def test_a_label_map_named_by_uid_belongs_to_the_acquisition_with_its_grid(tmp_path, files):
    codes = two_passes(tmp_path, files, 2.5)
    uid = dcmread(next((tmp_path / "pass1").iterdir())).SeriesInstanceUID
    affine = files.affine()
    affine[2, 3] += 2.5
    files.nifti(tmp_path / f"labels/{uid}.nii.gz", codes[1], affine=affine)
    found = discover(tmp_path, ScanSettings(codes=Codes.load("phantom")))
    (other, named) = found.scans
    assert {label.path.suffix for label in other.labels} == {".dcm"}
    assert sorted(label.path.suffix for label in named.labels) == [".dcm", ".gz"]
