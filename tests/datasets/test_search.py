"""Folders are searched through links, each once, and cycles end."""

import gzip
import zipfile

import pytest

from ildfv.datasets.classify import ZIPPED
from ildfv.datasets.discovery import discover
from ildfv.datasets.records import Discovery
from ildfv.datasets.search import files_below
from ildfv.datasets.settings import ScanSettings


def found_in(root):
    found = Discovery()
    files = [path.relative_to(root).as_posix() for path in files_below(root, found)]
    return files, {unused.source.relative_to(root).as_posix(): unused.reason for unused in found.ignored}


def test_linked_folders_are_searched(tmp_path, files):
    for number in (1, 2):
        files.series(tmp_path / f"store/{number}/ct", files.chest(seed=number), patient=f"P-{number}")
    (tmp_path / "cohort").mkdir()
    for number in (1, 2):
        (tmp_path / f"cohort/p{number}").symlink_to(tmp_path / f"store/{number}")
    found = discover(tmp_path / "cohort")
    assert sorted(scan.patient for scan in found.scans) == ["P-1", "P-2"]
    assert not found.ignored


def test_a_label_map_next_to_a_linked_series_is_paired(tmp_path, files):
    hu = files.chest()
    files.series(tmp_path / "store", hu)
    (tmp_path / "s/p1").mkdir(parents=True)
    (tmp_path / "s/p1/ct").symlink_to(tmp_path / "store")
    files.nifti(tmp_path / "s/p1/labels.nii.gz", files.codes(hu))
    (scan,) = discover(tmp_path / "s").scans
    assert [label.path.name for label in scan.labels] == ["labels.nii.gz"]


def test_links_may_form_cycles(tmp_path):
    root = tmp_path / "s"
    (root / "a/b").mkdir(parents=True)
    (root / "a/b/x.txt").write_text("x")
    (root / "a/b/up").symlink_to(root / "a")
    (root / "a/b/root").symlink_to(root)
    (root / "a/self").symlink_to(root / "a/self")
    files, ignored = found_in(root)
    assert files == ["a/b/x.txt", "a/self"]
    assert set(ignored) == {"a/b/up", "a/b/root"}


def test_a_linked_folder_is_searched_once_under_its_own_path(tmp_path):
    root = tmp_path / "s"
    (root / "z").mkdir(parents=True)
    (root / "z/x.txt").write_text("x")
    (root / "a").symlink_to(root / "z")
    (root / "b").symlink_to(root / "a")
    assert found_in(root) == (
        ["z/x.txt"],
        dict.fromkeys(["a", "b"], "a link to a folder that is searched under another path"),
    )


def test_a_link_to_a_folder_above_is_not_followed(tmp_path):
    root = tmp_path / "store/s"
    root.mkdir(parents=True)
    (tmp_path / "store/other.txt").write_text("x")
    (root / "x.txt").write_text("x")
    (root / "up").symlink_to(tmp_path / "store")
    assert found_in(root) == (["x.txt"], {"up": "a link to a parent folder, which is not followed"})


@pytest.fixture
def packed(tmp_path, files):
    """Four series: of gzip files, of files without preamble and suffix, in a zip archive, and of plain files."""
    for number, name in enumerate(("gz", "bare", "zip", "plain")):
        for path in files.series(tmp_path / name, files.chest(seed=number), patient=f"P-{name}"):
            content = path.read_bytes()
            if name == "gz":
                path.with_name(path.name + ".gz").write_bytes(gzip.compress(content))
            elif name == "bare":
                path.with_suffix("").write_bytes(content[132:])
            elif name == "zip":
                with zipfile.ZipFile(tmp_path / "series.zip", "a") as archive:
                    archive.write(path, path.name)
            if name != "plain":
                path.unlink()
    return tmp_path


def test_packed_dicom_is_reported(packed):
    found = discover(packed)
    assert [scan.patient for scan in found.scans] == ["P-plain"]
    reasons = {unused.source.name: (unused.files, unused.reason) for unused in found.quarantined}
    assert reasons == {
        "gz": (6, "DICOM compressed with gzip is read only with `prepare --packed`"),
        "bare": (6, "DICOM without preamble is read only with `prepare --packed`"),
        "series.zip": (1, ZIPPED),
    }


def test_packed_dicom_is_read_on_request(packed):
    from ildfv.datasets.convert import scan_slices

    found = discover(packed, ScanSettings(packed=True))
    assert sorted(scan.patient for scan in found.scans) == ["P-bare", "P-gz", "P-plain"]
    for scan in found.scans:
        assert len(scan_slices(scan, None, "salt").images) == 6


def test_dicom_without_file_meta_information_is_read(tmp_path, files):
    for path in files.series(tmp_path / "s", files.chest()):
        content = path.read_bytes()[132:]
        end = 12 + int.from_bytes(content[8:12], "little")  # the first element is the length of group 2
        path.write_bytes(content[end:])
    (scan,) = discover(tmp_path / "s", ScanSettings(packed=True)).scans
    assert scan.geometry.shape[0] == 6
