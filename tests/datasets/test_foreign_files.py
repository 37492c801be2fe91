"""Files of the operating system, private DICOM objects and localizers have no effect on the scan they are next to."""

import pytest
from pydicom.uid import generate_uid

from ildfv.datasets.discovery import discover

APPLE_DOUBLE = bytes.fromhex("00051607000200004d6163204f532058") + bytes(4080)


def labelled_scans(folder, files):
    """A DICOM series and a NIfTI scan, each with a label map."""
    hu = files.chest()
    files.series(folder / "p1" / "ct", hu)
    files.nifti(folder / "p1" / "labels.nii.gz", files.codes(hu))
    files.nifti(folder / "p2" / "ct.nii.gz", hu)
    files.nifti(folder / "p2" / "ct_label.nii.gz", files.codes(hu))


def check_unaffected(folder, n_ignored):
    found = discover(folder)
    assert [bool(scan.labels) for scan in found.scans] == [True, True]
    assert [scan.unreadable for scan in found.scans] == [0, 0]
    assert not found.quarantined
    assert sum(unused.files for unused in found.ignored) == n_ignored
    return {unused.reason for unused in found.ignored}


@pytest.mark.parametrize("content", [APPLE_DOUBLE, b"", b"\xff" * 600], ids=["AppleDouble", "empty", "noise"])
def test_files_that_macos_adds_to_every_file_are_ignored(tmp_path, files, content):
    labelled_scans(tmp_path, files)
    originals = [path for path in tmp_path.rglob("*") if path.is_file()]
    for path in originals:
        (path.parent / f"._{path.name}").write_bytes(content)
    assert check_unaffected(tmp_path, len(originals)) == {"a file of the operating system"}


def test_a_dangling_link_with_an_appledouble_name_is_ignored(tmp_path, files):
    labelled_scans(tmp_path, files)
    (tmp_path / "p1" / "ct" / "._slice.dcm").symlink_to(tmp_path / "nowhere")
    check_unaffected(tmp_path, 1)


@pytest.mark.parametrize("name", [".DS_Store", "Thumbs.db", "THUMBS.DB", "desktop.ini"])
def test_files_of_desktops_are_ignored(tmp_path, files, name):
    labelled_scans(tmp_path, files)
    (tmp_path / "p1" / "ct" / name).write_bytes(b"\0\0\0\1Bud1" + bytes(200))
    assert check_unaffected(tmp_path, 1) == {"a file of the operating system"}


def test_a_slice_with_an_appledouble_name_is_still_a_slice(tmp_path, files):
    first = files.series(tmp_path, files.chest())[0]
    first.rename(tmp_path / "._slice.dcm")
    (scan,) = discover(tmp_path).scans
    assert scan.geometry.shape[0] == 6


@pytest.mark.parametrize("kind", ["1.3.12.2.1107.5.9.1", "1.2.840.113619.4.30", "1.3.46.670589.5.0.1"])
def test_private_sop_classes_are_ignored(tmp_path, files, kind):
    labelled_scans(tmp_path, files)
    (path,) = files.series(tmp_path / "raw", files.chest(1), SOPClassUID=kind, PixelData=None)
    path.rename(tmp_path / "p1" / "ct" / "private.dcm")
    assert check_unaffected(tmp_path, 1) == {f"not CT: private SOP class {kind}"}


@pytest.mark.parametrize(
    "kind", ["1.2.840.10008.5.1.4.1.1.1.99", "1.2.840.10008.5.1.4.1", "1.2.840", "1.2.840.10008.9.9"]
)
def test_a_truncated_or_unknown_sop_class_is_refused(tmp_path, files, kind):
    files.series(tmp_path, files.chest(1), SOPClassUID=kind)
    (unused,) = discover(tmp_path).quarantined
    assert unused.reason.startswith("SOPClassUID must be one that DICOM defines or a private one, got 1.2.840")


@pytest.mark.parametrize(
    "tags",
    [
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.67", "Modality": "SR", "PixelData": None},
        {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER", "CT_SOM5 TOP"]},
        {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "PixelSpacing": None, "PatientID": None},
        {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"], "BitsAllocated": 8},
    ],
    ids=["dose report", "topogram", "incomplete localizer", "screen save"],
)
def test_dose_reports_and_localizers_are_ignored(tmp_path, files, tags):
    labelled_scans(tmp_path, files)
    for number, series in enumerate(("", generate_uid())):
        extra = {"series": generate_uid(), "SeriesInstanceUID": series or None, **tags}
        (path,) = files.series(tmp_path / "extra", files.chest(1), **extra)
        path.rename(tmp_path / "p1" / "ct" / f"extra{number}.dcm")
    check_unaffected(tmp_path, 2)


def test_a_tag_with_a_line_break_is_quoted_in_one_line(tmp_path, files):
    files.series(tmp_path, files.chest(1), Modality="a\nb")
    (unused,) = discover(tmp_path).ignored
    assert unused.reason == r"not CT: Modality a\nb"
