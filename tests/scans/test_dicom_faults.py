"""Invalid DICOM: each broken rule is reported with the value."""

import numpy as np
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
    MRImageStorage,
    RTStructureSetStorage,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from ildfv.datasets.discovery import discover
from ildfv.errors import InputError
from ildfv.scans.dicom import assemble, read_series
from ildfv.scans.read_header import read_header


def refused(paths, match):
    with pytest.raises(InputError, match=match) as error:
        read_series(assemble([read_header(path) for path in paths]))
    assert "\n" not in str(error.value)


def quarantine(folder) -> dict[str, str]:
    found = discover(folder)
    assert not found.scans
    return {left.source.name: left.reason for left in found.quarantined}


@pytest.mark.parametrize(
    ("tags", "match"),
    [
        ({"RescaleSlope": None}, "RescaleSlope must be present"),
        ({"RescaleIntercept": None}, "RescaleIntercept must be present"),
        ({"RescaleSlope": "0"}, "RescaleSlope must be above 0 and finite, and RescaleIntercept finite, got 0"),
        ({"RescaleSlope": "-1"}, "RescaleSlope must be above 0"),
        ({"RescaleType": "Z_EFF"}, "RescaleType must be HU, US or absent, got Z_EFF"),
        (
            {"PhotometricInterpretation": "MONOCHROME1"},
            "PhotometricInterpretation must be MONOCHROME2, got MONOCHROME1",
        ),
        ({"BitsAllocated": 8}, "BitsAllocated must be 16, got 8"),
        ({"Modality": None}, "Modality must be CT, got none"),
        ({"PixelSpacing": None}, "PixelSpacing must be present"),
        ({"PixelSpacing": [4.0, 5.0]}, "pixels of a slice must be square"),
        ({"PixelSpacing": [0.0, 0.0]}, "voxel spacing must be above"),
        ({"ImagePositionPatient": None}, "ImagePositionPatient must be present"),
        ({"ImageOrientationPatient": None}, "ImageOrientationPatient must be present"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "orthogonal unit vectors"),
        ({"RescaleIntercept": "0"}, r"HU must be above 700 in at most 10% .* not scaled, shifted"),
        ({"RescaleIntercept": "-30000"}, r"HU must include air or lung .* got 0.00%"),
        ({"RescaleIntercept": "-2048"}, r"HU must include soft tissue"),
        ({"RescaleSlope": "50"}, r"HU must be above 700 in at most 10%"),
    ],
)
def test_a_header_that_breaks_a_rule_is_refused(tmp_path, files, tags, match):
    refused(files.series(tmp_path, files.chest(3), **tags), match)


def test_a_series_with_one_slice_without_rescaling_is_refused(tmp_path, files):
    def spoil(z, dataset):
        if z == 1:
            del dataset.RescaleSlope
        return dataset

    refused(files.series(tmp_path, files.chest(), change=spoil), r"slice\d+.dcm: RescaleSlope must be present")


def test_a_missing_slice_is_counted(tmp_path, files):
    paths = files.series(tmp_path, files.chest(), change=lambda z, dataset: None if z == 3 else dataset)
    refused(paths, "evenly spaced .5 mm., got a gap of 10 mm after -290.00 mm .slices missing: 1; deviating gaps: 1")


def test_uneven_spacing_is_refused(tmp_path, files):
    def shift(z, dataset):
        if z == 3:
            dataset.ImagePositionPatient[2] += 1.7
        return dataset

    refused(files.series(tmp_path, files.chest(), change=shift), "uneven spacing; deviating gaps: 2")


def test_slices_that_do_not_lie_on_a_line_are_refused(tmp_path, files):
    def shift(z, dataset):
        if z == 3:
            dataset.ImagePositionPatient[0] += 3
        return dataset

    refused(files.series(tmp_path, files.chest(), change=shift), "one line, got an in-plane deviation of 2.46 mm")


def test_two_slices_at_one_position_are_refused(tmp_path, files):
    def copy_position(z, dataset):
        if z == 3:
            dataset.ImagePositionPatient[2] -= 5
        return dataset

    refused(files.series(tmp_path, files.chest(), change=copy_position), "distinct positions, got slice")


def test_two_different_files_of_one_instance_are_refused(tmp_path, files):
    refused(files.series(tmp_path, files.chest(), SOPInstanceUID=generate_uid()), "with the same SOPInstanceUID")


@pytest.mark.parametrize("cosines", [[1, 0, 0, 0, 0, -1], [0.9848, 0.1736, 0, -0.1736, 0.9848, 0]])
def test_two_orientations_in_one_series_are_refused(tmp_path, files, cosines):
    def turn(z, dataset):
        if z % 2:
            dataset.ImageOrientationPatient = cosines
        return dataset

    match = r"the same in all slices of a series, got \[.* in 3 of 6 slices"
    refused(files.series(tmp_path, files.chest(), change=turn), match)


def test_two_orientations_in_one_folder_are_two_series_and_the_coronal_one_is_refused(tmp_path, files):
    def coronal(z, dataset):
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
        dataset.ImagePositionPatient = [-128, -120 + 4 * z, -300]
        return dataset

    files.series(tmp_path, files.chest())
    for path in files.series(tmp_path / "c", files.chest(), change=coronal):
        path.rename(tmp_path / f"coronal-{path.name}")
    found = discover(tmp_path)
    assert len(found.scans) == 1
    assert [left.reason[:47] for left in found.quarantined] == ["a DICOM series must be axial, got a coronal or "]


def test_a_tilted_gantry_is_refused_and_a_slight_tilt_is_not(tmp_path, files):
    def tilt(degrees):
        a = np.radians(degrees)
        return [1, 0, 0, 0, round(np.cos(a), 6), round(np.sin(a), 6)]

    refused(files.series(tmp_path / "a", files.chest(), ImageOrientationPatient=tilt(15)), "axial within 5°.*got 15.0°")
    paths = files.series(tmp_path / "b", files.chest(), ImageOrientationPatient=tilt(2))
    assert assemble([read_header(path) for path in paths]).geometry.shape == (6, 64, 64)


@pytest.mark.parametrize("what", ["PatientID", "Rows"])
def test_slices_that_disagree_are_refused(tmp_path, files, what):
    def change(z, dataset):
        if z == 2:
            setattr(dataset, what, "P-9" if what == "PatientID" else 32)
        return dataset

    refused(
        files.series(tmp_path, files.chest(), change=change), "must be the same in all slices of a series, got 2 values"
    )


def test_a_truncated_file_is_refused_before_decoding(tmp_path, files):
    paths = files.series(tmp_path, files.chest())
    paths[2].write_bytes(paths[2].read_bytes()[:-3000])
    assert "(truncated?)" in quarantine(tmp_path)[tmp_path.name]


@pytest.mark.parametrize("size", [140, 200, 400, 600, 700, 800, 900, 1000])
def test_a_file_truncated_anywhere_in_its_header_is_refused(tmp_path, files, size):
    path = files.series(tmp_path, files.chest(1))[0]
    path.write_bytes(path.read_bytes()[:size])
    (reason,) = quarantine(tmp_path).values()
    assert "must" in reason


def test_a_header_without_pixels_is_refused(tmp_path, files):
    files.series(tmp_path, files.chest(1), PixelData=None)
    assert "PixelData must be present, got a header without pixel data" in quarantine(tmp_path)["slice000.dcm"]


def test_many_files_with_the_same_fault_are_listed_as_one_entry(tmp_path):
    for number in range(5):
        (tmp_path / f"{number}.dcm").write_bytes(b"no DICOM")
    (left,) = discover(tmp_path).quarantined
    assert (left.source, left.files) == (tmp_path, 5)


def test_a_file_with_a_dicom_suffix_and_other_content_is_refused(tmp_path):
    (tmp_path / "a.dcm").write_bytes(b"\x89PNG not DICOM at all" * 30)
    (tmp_path / "empty.dcm").write_bytes(b"")
    reasons = quarantine(tmp_path)
    assert set(reasons) == {"a.dcm", "empty.dcm"}
    assert all("'DICM' at byte 128" in reason for reason in reasons.values())


def test_a_small_file_cannot_declare_a_huge_volume(tmp_path, files):
    tags = {"Rows": 65535, "Columns": 65535, "NumberOfFrames": 50, "PixelData": b"\0" * 20}
    path = files.series(tmp_path, files.chest(1), **tags)[0]
    assert path.stat().st_size < 2000
    assert "at most 4096, got shape (50, 65535, 65535)" in quarantine(tmp_path)["slice000.dcm"]


def test_a_compressed_file_cannot_declare_far_more_than_it_can_hold(tmp_path, files):
    def declare(z, dataset):
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.90"
        dataset.PixelData = b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
        dataset["PixelData"].is_undefined_length = True
        dataset["PixelData"].VR = "OB"
        dataset.Rows = dataset.Columns = 4096
        return dataset

    files.series(tmp_path, files.chest(1), change=declare)
    assert "(truncated?)" in quarantine(tmp_path)["slice000.dcm"]


def test_a_deflated_file_is_refused_before_parsing(tmp_path, files):
    def deflate(z, dataset):
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        return dataset

    files.series(tmp_path, files.chest(1), change=deflate)
    (reason,) = quarantine(tmp_path).values()
    assert "must not be Deflated" in reason


def test_other_dicom_objects_are_ignored_with_a_reason(tmp_path, files):
    hu = files.chest(1)
    files.series(tmp_path / "scout", hu, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    files.series(tmp_path / "mr", files.chest(3), SOPClassUID=MRImageStorage)
    files.series(tmp_path / "rt", hu, SOPClassUID=RTStructureSetStorage, PixelData=None)
    files.series(tmp_path / "dose", hu, SOPClassUID=SecondaryCaptureImageStorage)
    files.series(tmp_path / "pt", hu, Modality="PT")
    (tmp_path / "notes.txt").write_text("no scan")

    def directory(_, dataset):  # a DICOMDIR has its SOP class only in the file meta information
        del dataset.SOPClassUID
        dataset.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
        return dataset

    files.series(tmp_path / "dir", hu, PixelData=None, change=directory)
    found = discover(tmp_path)
    assert not found.scans
    (contours,) = found.quarantined  # reported and not ignored, because annotations would be lost
    assert contours.source.parent.name == "rt"
    assert contours.reason.startswith("RT Structure Set: [segments] of the code table must name one of its structures")
    assert not discover(tmp_path, labels=False).quarantined
    reasons = {left.source.relative_to(tmp_path).parts[0]: (left.reason, left.files) for left in found.ignored}
    assert reasons == {
        "scout": ("not a slice of a scan: ImageType LOCALIZER", 1),
        "mr": ("not CT: MR Image Storage, Modality CT", 3),
        "dose": ("not CT: Secondary Capture Image Storage", 1),
        "pt": ("not CT: Modality PT", 1),
        "dir": ("not CT: Media Storage Directory Storage", 1),
        "notes.txt": ("not DICOM, NIfTI, NRRD or MetaImage", 1),
    }


def test_a_localizer_in_a_series_has_no_effect(tmp_path, files):
    series = generate_uid()
    files.series(tmp_path, files.chest(), series=series)
    files.series(tmp_path / "x", files.chest(1), series=series, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    found = discover(tmp_path)
    assert [scan.geometry.shape[0] for scan in found.scans] == [6]
    assert len(found.ignored) == 1
