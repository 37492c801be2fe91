"""Preparation into a workspace that contains scans: nothing is lost, and the summary is correct."""

import os
import shutil

import numpy as np
import pytest
from preparing import prepare
from typer.testing import CliRunner

from ildfv.cli import output
from ildfv.cli.app import app
from ildfv.datasets.slice_store import Slices
from ildfv.errors import InputError
from ildfv.pipeline.prepare import prepare_scans

pytestmark = pytest.mark.usefixtures("inline")

SALT = "0123456789abcdef"
CODES = "[codes]\n0 = 'outside'\n1 = 'healthy'\n2 = 'ground glass'\n5 = 'emphysema'\n"


def command(*arguments):
    output.out.width = 400  # so wide that no reason is wrapped after a long temporary path
    return CliRunner().invoke(app, ["prepare", *map(str, arguments)])


def labelled_scan(files, folder, seed=0):
    hu = files.chest(seed=seed)
    files.series(folder / "ct", hu, patient=f"P-{seed}")
    files.nifti(folder / "labels.nii.gz", files.codes(hu))


@pytest.mark.parametrize("broken", [False, True])
def test_a_file_of_another_person_at_the_same_path_does_not_replace_the_first(tmp_path, files, broken):
    files.nifti(tmp_path / "a" / "p1" / "ct.nii.gz", files.chest(seed=1))
    other = files.chest(seed=2)
    files.nifti(tmp_path / "b" / "p1" / "ct.nii.gz", np.full_like(other, 40) if broken else other)
    prepare(tmp_path / "a", tmp_path / "out", salt=SALT)
    before = Slices(tmp_path / "out").key
    for _ in range(2):
        report = prepare(tmp_path / "b", tmp_path / "out", salt=SALT)
        (left,) = report.quarantined
        expected = "HU must include" if broken else "the path p1/ct.nii.gz below the input folder must be unique"
        assert expected in left.reason
        assert not report.prepared
        assert Slices(tmp_path / "out").key == before
    assert prepare(tmp_path / "a", tmp_path / "out", salt=SALT).prepared[0].kept


def test_files_of_one_size_and_time_elsewhere_are_distinguished_by_their_slices(tmp_path, files):
    paths = [files.nifti(tmp_path / side / "p1" / "ct.nii", files.chest(seed=i)) for i, side in enumerate("ab")]
    for path in paths:
        os.utime(path, (0, 0))
    prepare(tmp_path / "a", tmp_path / "out", salt=SALT)
    assert len(prepare(tmp_path / "b", tmp_path / "out", salt=SALT).quarantined) == 1


def test_a_moved_or_modified_file_replaces_its_own_part(tmp_path, files):
    files.nifti(tmp_path / "a" / "p1" / "ct.nii.gz", files.chest(seed=1))
    prepare(tmp_path / "a", tmp_path / "out", salt=SALT)
    shutil.move(tmp_path / "a", tmp_path / "moved")
    assert len(prepare(tmp_path / "moved", tmp_path / "out", salt=SALT).prepared) == 1
    assert prepare(tmp_path / "moved", tmp_path / "out", salt=SALT).prepared[0].kept
    files.nifti(tmp_path / "moved" / "p1" / "ct.nii.gz", files.chest(4, seed=2))
    assert prepare(tmp_path / "moved", tmp_path / "out", salt=SALT).prepared[0].slices == 4
    assert len(Slices(tmp_path / "out")) == 4


@pytest.mark.parametrize("volume", [False, True])
def test_a_run_without_codes_does_not_remove_labels(tmp_path, files, volume):
    labelled_scan(files, tmp_path / "scans" / "p1")
    if volume:
        shutil.rmtree(tmp_path / "scans" / "p1" / "ct")
        files.nifti(tmp_path / "scans" / "p1" / "ct.nii.gz", files.chest())
    prepare(tmp_path / "scans", tmp_path / "out", codes="phantom", salt=SALT)
    before = Slices(tmp_path / "out").key
    for folder in ("scans", "moved"):
        if folder == "moved":
            shutil.move(tmp_path / "scans", tmp_path / "moved")
        (scan,) = prepare(tmp_path / folder, tmp_path / "out", salt=SALT).prepared
        assert scan.labelled
        assert scan.kept
        assert any("without --codes they would lose their labels" in note for note in scan.notes)
        assert Slices(tmp_path / "out").key == before


def test_the_code_table_of_the_folder_above_is_used_for_a_single_patient(tmp_path, files):
    labelled_scan(files, tmp_path / "scans" / "p1")
    labelled_scan(files, tmp_path / "scans" / "p2", seed=1)
    (tmp_path / "scans" / "codes.toml").write_text(CODES)
    one = prepare_scans(tmp_path / "scans" / "p1", tmp_path / "w")
    assert one["labelled_slices"] == 6
    assert prepare_scans(tmp_path / "scans" / "p2" / "ct", tmp_path / "w")["codes"].endswith("scans/codes.toml")
    all_ = prepare_scans(tmp_path / "scans", tmp_path / "w")
    assert all_["workspace"] == {"scans": 2, "patients": 2, "slices": 12, "labelled_slices": 12}


def test_invalid_scans_or_codes_create_nothing(tmp_path, files):
    (tmp_path / "empty" / "inside").mkdir(parents=True)
    files.series(tmp_path / "scans", files.chest())
    for scans, codes, fault in (
        ("empty", None, "empty folder"),
        ("scans", "nope", "codes must be"),
        ("no", None, "no"),
    ):
        with pytest.raises(InputError, match=fault):
            prepare_scans(tmp_path / scans, tmp_path / "w", codes=codes)
        assert not (tmp_path / "w").exists()


def test_no_usable_scan_is_an_error_after_the_table(tmp_path, files):
    files.nifti(tmp_path / "scans" / "ct.nii.gz", np.full((4, 64, 64), 40, np.int16))
    ended = command(tmp_path / "scans", "--workspace", tmp_path / "w")
    assert isinstance(ended.exception, InputError)
    assert str(ended.exception) == "no scan could be prepared: prepare.json in the workspace lists the reasons"
    assert "HU must include" in ended.output
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "notes.txt").write_text("hello")
    ended = command(tmp_path / "texts", "--workspace", tmp_path / "w")
    assert isinstance(ended.exception, InputError)
    assert "not DICOM, NIfTI, NRRD or MetaImage" in ended.output


def test_the_label_map_of_a_quarantined_scan_is_quarantined_with_its_name(tmp_path, files):
    labelled_scan(files, tmp_path / "scans" / "p1")
    next((tmp_path / "scans" / "p1" / "ct").glob("slice002.dcm")).unlink()
    (tmp_path / "scans" / "p2").mkdir()
    (tmp_path / "scans" / "p2" / "ct.nii.gz").write_bytes(b"\x1f\x8b nonsense")
    files.nifti(tmp_path / "scans" / "p2" / "labels.nii.gz", files.codes(files.chest()))
    files.nifti(tmp_path / "scans" / "alone" / "labels.nii.gz", files.codes(files.chest()))
    report = prepare(tmp_path / "scans", tmp_path / "out", codes="phantom", salt=SALT)
    reasons = {left.source.relative_to(tmp_path / "scans").as_posix(): left.reason for left in report.quarantined}
    assert sorted(reasons) == ["alone/labels.nii.gz", "p1/ct", "p1/labels.nii.gz", "p2/ct.nii.gz", "p2/labels.nii.gz"]
    assert reasons["p1/labels.nii.gz"].startswith("its scan may be ct, which cannot be used: slices must be evenly")
    assert reasons["p2/labels.nii.gz"].startswith("its scan may be ct.nii.gz, which cannot be used: ")
    assert not report.ignored


def test_the_summary_counts_the_run_and_the_workspace(tmp_path, files):
    files.nifti(tmp_path / "scans" / "p1" / "ct.nii.gz", files.chest())
    first = command(tmp_path / "scans", "--workspace", tmp_path / "w").output
    assert "This run: 1 scan of 1 patient, 6 slices (0 with labels).\n" in first
    assert (
        "note: volume files have no patient identity: for 1 of them, the patient is the first folder of the path below"
        in first
    )
    files.nifti(tmp_path / "scans" / "loose.nii.gz", files.chest(seed=1))
    third = command(tmp_path / "scans", "--workspace", tmp_path / "w").output
    assert "This run: 2 scans of 2 patients, 12 slices (0 with labels); 1 scan unchanged.\n" in third
    assert "now contains 2 scans of 2 patients, 12 slices" in third
    assert "for 1 of them, the patient is the file name" in third


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_corrupt_part_is_detected_and_prepared_again(tmp_path, files, damage):
    files.nifti(tmp_path / "a" / "p1" / "ct.nii.gz", files.chest(seed=1))
    prepare(tmp_path / "a", tmp_path / "out", salt=SALT)
    (part,) = (tmp_path / "out").glob("*.h5")
    whole, key = part.read_bytes(), Slices(tmp_path / "out").key
    if damage == "gone":
        part.unlink()
    else:
        part.write_bytes(whole[:5000] if damage == "cut" else whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    assert not prepare(tmp_path / "a", tmp_path / "out", salt=SALT).prepared[0].kept
    assert part.read_bytes() == whole
    assert Slices(tmp_path / "out").key == key
    assert prepare(tmp_path / "a", tmp_path / "out", salt=SALT).prepared[0].kept
