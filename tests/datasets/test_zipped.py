"""Scans in zip archives are prepared like those in folders; a refused archive is reported."""

import json
import shutil
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from ildfv.datasets.discovery import discover
from ildfv.datasets.settings import ScanSettings
from ildfv.datasets.unpacked import unpacked
from ildfv.errors import InputError
from ildfv.pipeline.prepare import prepare_scans
from ildfv.pipeline.preview import preview_scans
from ildfv.scans.labels import Codes

SALT = "0123456789abcdef"


@pytest.fixture
def cohort(tmp_path, files):
    """Three patients: a DICOM series with a label map, a NIfTI scan and its label map in one folder, an NRRD scan."""
    one, two = files.chest(2, seed=1), files.chest(2, seed=2)
    files.series(tmp_path / "scans/anna", one, patient="A")
    files.nifti(tmp_path / "scans/anna_label.nii.gz", files.codes(one))
    files.nifti(tmp_path / "scans/bert/ct.nii.gz", two)
    files.nifti(tmp_path / "scans/bert/ct_label.nii.gz", files.codes(two))
    files.nrrd(tmp_path / "scans/carl/2019/ct.nrrd", files.chest(2, seed=3))
    return tmp_path / "scans"


def zipped(folder: Path, *, inside: bool = False) -> Path:
    """Replaces the folder by an archive of the same name; with `inside`, the archive contains the folder itself."""
    archive = folder.with_name(f"{folder.name}.zip")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, path.relative_to(folder.parent if inside else folder))
    shutil.rmtree(folder)
    return archive


def prepared(scans, workspace, **options):
    return prepare_scans(scans, workspace, codes="phantom", salt=SALT, workers=1, **options)


def parts(workspace):
    """The images and counts of each part by patient."""
    found = {}
    for path in sorted((workspace / "slices").rglob("*.h5")):
        with h5py.File(path) as part:
            found[part.attrs["patient"]] = part["images"][()].tobytes(), part["counts"][()].tobytes()
    return found


@pytest.mark.parametrize("inside", [False, True])
def test_archives_are_prepared_like_folders(tmp_path, cohort, inline, inside):
    prepared(cohort, tmp_path / "folders")
    for name in ("anna", "bert", "carl"):
        zipped(cohort / name, inside=inside)
    report = prepared(cohort, tmp_path / "zips", packed=True)
    assert report["scans"] == 3
    assert not report["quarantined"]
    assert parts(tmp_path / "folders") == parts(tmp_path / "zips")
    assert {Path(one["source"]).relative_to(cohort).parts[0] for one in report["prepared"]} == {
        "anna.zip",
        "bert.zip",
        "carl.zip",
    }
    assert "/ildfv-" not in json.dumps(report) + (tmp_path / "zips/prepare.json").read_text()


@pytest.mark.parametrize("inside", [False, True])
def test_an_archive_as_input_is_prepared_like_its_folder(tmp_path, cohort, inline, inside):
    prepared(cohort, tmp_path / "folder")
    report = prepared(zipped(cohort, inside=inside), tmp_path / "zip")
    assert parts(tmp_path / "folder") == parts(tmp_path / "zip")
    assert all(one["source"].startswith(str(tmp_path / "scans.zip/")) for one in report["prepared"])


def test_the_code_table_in_an_archive_is_found(tmp_path, cohort, inline):
    codes = Path(__file__).parents[2] / "ildfv/scans/codes/phantom.toml"
    shutil.copy(codes, cohort / "codes.toml")
    report = prepare_scans(zipped(cohort), tmp_path / "out", salt=SALT, workers=1)
    assert report["labelled_slices"] == 4
    assert report["codes"] == str(tmp_path / "scans.zip/codes.toml")


def test_an_unchanged_archive_is_not_prepared_again(tmp_path, cohort, inline):
    zipped(cohort / "bert")
    for kept in (0, 3):
        assert prepared(cohort, tmp_path / "out", packed=True)["kept"] == kept


def test_the_same_path_in_another_archive_is_another_scan(tmp_path, files, inline):
    for seed, name in enumerate("ab"):
        files.nifti(tmp_path / name / "p1/ct.nii.gz", files.chest(2, seed=seed))
        zipped(tmp_path / name)
    assert prepared(tmp_path / "a.zip", tmp_path / "out")["scans"] == 1
    (refused,) = prepared(tmp_path / "b.zip", tmp_path / "out")["quarantined"]
    assert "must be unique, got the path of another scan" in refused["reason"]


def test_archives_in_a_folder_are_reported_and_not_read_without_the_option(tmp_path, cohort):
    archive = zipped(cohort / "anna")
    (unused,) = [one for one in discover(cohort).quarantined if one.source == archive]
    assert "in a folder is read only with `prepare --packed`" in unused.reason


def test_a_preview_shows_pairs_in_archives_and_leaves_nothing_behind(tmp_path, cohort, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    zipped(cohort / "anna")
    preview = preview_scans(cohort, codes="phantom", packed=True, workers=1)
    pairs = {one["source"]: one["label"] for one in preview["scans"]}
    assert pairs[str(cohort / "anna.zip")] == str(cohort / "anna_label.nii.gz")
    assert not list((tmp_path / "temporary").iterdir())


def test_a_label_map_of_a_damaged_archive_is_paired_with_no_other_scan(tmp_path, cohort):
    archive = zipped(cohort / "anna")
    archive.write_bytes(archive.read_bytes()[:-30])
    with unpacked(cohort, packed=True) as view:
        found = discover(view.folder, ScanSettings(codes=Codes.load("phantom"), packed=True), known=view.found)
        reasons = {view.original(one.source).name: one.reason for one in found.quarantined}
    assert len(found.scans) == 2
    assert "must be an intact zip archive" in reasons["anna.zip"]
    assert "its scan may be anna.zip, which cannot be used" in reasons["anna_label.nii.gz"]


def test_a_damaged_archive_as_input_gives_a_one_line_error(tmp_path, cohort):
    archive = zipped(cohort)
    archive.write_bytes(archive.read_bytes()[:-30])
    with pytest.raises(InputError, match="must be an intact zip archive"):
        prepared(archive, tmp_path / "out")


def test_an_archive_inside_an_archive_is_reported(tmp_path, cohort):
    zipped(cohort / "anna")
    archive = zipped(cohort)
    with unpacked(archive, packed=True) as view:
        found = discover(view.folder, ScanSettings(packed=True), known=view.found)
        reasons = {view.original(one.source): one.reason for one in found.quarantined}
    assert "a zip archive inside another is never read" in reasons[archive / "anna.zip"]


@pytest.mark.parametrize("name", ["notes.docx", "table.XLSX", "features.npz"])
def test_documents_in_zip_format_are_not_read_as_archives(tmp_path, cohort, name):
    np.savez(tmp_path / "some.npz", a=1)
    shutil.move(tmp_path / "some.npz", cohort / name)
    found = discover(cohort, ScanSettings(packed=True))
    assert not found.quarantined
    assert cohort / name in [one.source for one in found.ignored]


def test_a_table_may_list_archives(tmp_path, cohort, inline):
    zipped(cohort / "anna")
    table = tmp_path / "scans.csv"
    table.write_text("scan,label,patient\nanna.zip,anna_label.nii.gz,x\n")
    assert (
        "read only with `prepare --packed`"
        in prepared(cohort, tmp_path / "no", table=table)["quarantined"][0]["reason"]
    )
    report = prepared(cohort, tmp_path / "out", table=table, packed=True)
    assert [(one["source"], one["labelled_slices"]) for one in report["prepared"]] == [(str(cohort / "anna.zip"), 2)]


def test_linked_folders_next_to_an_archive_are_read_once(tmp_path, cohort, files):
    zipped(cohort / "anna")
    (cohort / "loop").symlink_to(cohort)
    files.nifti(tmp_path / "elsewhere/ct.nii.gz", files.chest(2, seed=9))
    (cohort / "dora").symlink_to(tmp_path / "elsewhere")
    with unpacked(cohort, packed=True) as view:
        found = discover(view.folder, ScanSettings(packed=True), known=view.found)
        assert len(found.scans) == 4
        assert {one.patient for one in found.scans} == {"A", "bert", "carl", "dora"}
        assert [view.original(one.source).name for one in found.ignored if "link" in one.reason] == ["loop"]
