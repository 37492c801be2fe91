"""Copies of a slice in a series count once; files without SOPInstanceUID are distinguished by their content."""

import numpy as np
import pytest
from preparing import prepare
from pydicom.uid import JPEG2000Lossless, generate_uid

from ildfv.datasets.discovery import discover
from ildfv.errors import InputError
from ildfv.scans.dicom import assemble, read_series
from ildfv.scans.read_header import read_header


def without_uid(uid):
    """A change that removes the SOPInstanceUID of the slices."""

    def change(z, dataset):
        dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
        dataset.SOPInstanceUID = uid
        return dataset

    return change


def scan_of(folder):
    found = discover(folder)
    assert not found.quarantined
    (scan,) = found.scans
    return read_series(scan.dicom).hu, found.ignored


@pytest.mark.parametrize("what", ["new identifiers", "other header", "compressed", "other scale"])
def test_a_series_exported_twice_is_one_series(tmp_path, files, what):
    def change(z, dataset):
        if what == "other header":
            dataset.SOPInstanceUID = f"1.2.3.{z}"
        if folder == "b":
            if what == "compressed":
                dataset.compress(JPEG2000Lossless)
            if what == "other scale":
                stored = np.frombuffer(dataset.PixelData, np.int16) - 1024
                dataset.PixelData, dataset.RescaleIntercept = stored.tobytes(), 0
            if what == "other header":
                dataset.InstitutionName = "archive"
        return dataset

    series = generate_uid()
    for folder in ("a", "b"):
        files.series(tmp_path / folder, files.chest(), series=series, change=change)
    hu, ignored = scan_of(tmp_path)
    np.testing.assert_array_equal(hu, files.chest())
    assert [(left.source.name, left.files) for left in ignored] == [("b", 6)]
    assert ignored[0].reason == "identical copy of another file of the series"


def test_one_slice_exported_twice_is_used_once(tmp_path, files):
    series = generate_uid()
    files.series(tmp_path / "a", files.chest(), series=series)
    files.series(tmp_path / "b", files.chest(), series=series, change=lambda z, d: d if z == 2 else None)
    hu, ignored = scan_of(tmp_path)
    np.testing.assert_array_equal(hu, files.chest())
    assert len(ignored) == 1


def test_another_slice_at_the_same_position_is_not_a_copy(tmp_path, files):
    series = generate_uid()
    files.series(tmp_path / "a", files.chest(), series=series)
    files.series(tmp_path / "b", files.chest(seed=1), series=series, change=lambda z, d: d if z == 2 else None)
    (left,) = discover(tmp_path).quarantined
    assert "slices must have distinct positions" in left.reason


def test_equal_slices_at_other_positions_are_not_copies(tmp_path, files):
    hu = np.repeat(files.chest(1), 4, axis=0)
    files.series(tmp_path, hu)
    np.testing.assert_array_equal(scan_of(tmp_path)[0], hu)


def test_two_copies_of_a_series_with_two_acquisitions_are_two_scans(tmp_path, files):
    series = generate_uid()
    for copy in ("a", "b"):
        for number in (1, 2):
            hu = files.chest(seed=number)
            files.series(tmp_path / copy / str(number), hu, series=series, AcquisitionNumber=number)
    found = discover(tmp_path)
    assert [scan.geometry.shape[0] for scan in found.scans] == [6, 6]
    assert sum(left.files for left in found.ignored) == 12


@pytest.mark.parametrize("uid", [None, ""])
def test_files_without_instance_uid_are_one_scan_and_the_report_says_so(tmp_path, files, inline, uid):
    hu = files.chest()
    files.series(tmp_path / "scans", hu, change=without_uid(uid))
    (tmp_path / "scans/copy.dcm").write_bytes(next((tmp_path / "scans").glob("slice*")).read_bytes())
    got, ignored = scan_of(tmp_path)
    np.testing.assert_array_equal(got, hu)
    assert [left.files for left in ignored] == [1]
    (scan,) = prepare(tmp_path / "scans", tmp_path / "out", salt="0123456789abcdef", workers=1).prepared
    assert "files without a SOPInstanceUID are identified by a checksum: 6 files" in scan.notes


def test_the_substitute_depends_on_the_content_alone(tmp_path, files):
    first = files.series(tmp_path / "a", files.chest(2), change=without_uid(""))
    moved = [path.rename(tmp_path / f"{i}.dcm") for i, path in enumerate(first)]
    one, other = (read_header(path).instance for path in moved)
    assert one != other
    copy = tmp_path / "b.dcm"
    copy.write_bytes(moved[0].read_bytes())
    assert read_header(copy).instance == one


def test_a_copy_that_cannot_be_decoded_is_refused_with_its_name(tmp_path, files):
    series = generate_uid()
    files.series(tmp_path / "a", files.chest(2), series=series)
    (path, _) = files.series(tmp_path / "b", files.chest(2), series=series)
    data = path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0")
    path.write_bytes(data)
    with pytest.raises(InputError, match=path.name):
        assemble([read_header(p) for p in sorted(tmp_path.rglob("*.dcm"))])
