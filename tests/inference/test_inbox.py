"""A folder with many scans: every scan has a prediction or a reason, and no scan gets the prediction of another one."""

import gzip
import shutil
import zipfile

import numpy as np
import pytest
from pydicom import dcmread
from scan_files import ScanFiles

from ildfv.errors import InputError
from ildfv.inference.inbox import predict_all
from ildfv.inference.predictor import Predictor
from ildfv.inference.pseudonym import pseudonym_of_series


@pytest.fixture(scope="module")
def loaded(folder):
    return Predictor.load(folder)


def zipped(folder, path):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))


def truncated(folder):
    for path in folder.glob("*"):
        path.write_bytes(path.read_bytes()[:200])


def test_files_of_one_name_are_different_scans(loaded, tmp_path):
    sources = [tmp_path / name / "ct.nii.gz" for name in ("p1", "p2", "p3")]
    for seed, source in enumerate(sources):
        source.parent.mkdir()
        ScanFiles.nifti(source, ScanFiles.chest(seed=seed))
    answers, failed = predict_all(sources, loaded, out=tmp_path / "out")
    assert failed == []
    scores = [str(answer["heads"]["fv-conv1"]["scan"]) for answer in answers]
    assert len({answer["scan"] for answer in answers}) == len(set(scores)) == 3


def test_series_of_one_slice_are_all_predicted(loaded, tmp_path):
    """Slices of one patient, or of patients without a PatientID of their own, are not reconstructions of one scan."""
    for seed in range(3):
        ScanFiles.series(tmp_path / "in" / f"{seed}", ScanFiles.chest(1, seed=seed), patient="ANONYMOUS")
    answers, failed = predict_all([tmp_path / "in"], loaded)
    assert failed == []
    assert len({answer["scan"] for answer in answers}) == 3
    chosen, _ = predict_all([tmp_path / "in"], loaded, series="2")
    assert len(chosen) == 1
    ScanFiles.series(tmp_path / "in" / "scan", ScanFiles.chest(), patient="ANONYMOUS")
    (answer,), _ = predict_all([tmp_path / "in"], loaded)
    assert answer["slices"] == 6


def test_a_replaced_file_is_predicted_again_and_a_moved_one_is_not(loaded, tmp_path):
    path = tmp_path / "ct.nii.gz"
    ScanFiles.nifti(path, ScanFiles.chest())
    (first,), _ = predict_all([path], loaded, out=tmp_path / "out")
    moved = path.rename(tmp_path / "moved.nii.gz")
    (again,), _ = predict_all([moved], loaded, out=tmp_path / "out")
    assert again == first
    ScanFiles.nifti(path, ScanFiles.chest(seed=1))
    (other,), _ = predict_all([path], loaded, out=tmp_path / "out")
    assert other["scan"] != first["scan"]
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_the_prediction_of_an_incomplete_series_is_not_that_of_the_series(loaded, tmp_path):
    ScanFiles.series(tmp_path / "ct", ScanFiles.chest())
    predict_all([next((tmp_path / "ct").iterdir())], loaded, out=tmp_path / "out")
    answers, (failure,) = predict_all([tmp_path / "ct"], loaded, out=tmp_path / "out")
    assert answers == []
    assert (
        "must be a prediction of the 6 slices of the scan, got 1: give another --out, or replace it with --fresh"
        in (failure["reason"])
    )
    (answer,), failed = predict_all([tmp_path / "ct"], loaded, out=tmp_path / "out", fresh=True)
    assert (answer["slices"], failed) == (6, [])


@pytest.mark.parametrize("keep_identity", [False, True])
def test_a_scan_that_cannot_be_read_is_a_failure_next_to_one_that_can(loaded, tmp_path, keep_identity):
    ScanFiles.series(tmp_path / "in" / "p1", ScanFiles.chest(), patient="P-1")
    ScanFiles.series(tmp_path / "in" / "canary", ScanFiles.chest(), patient="P-2")
    truncated(tmp_path / "in" / "canary")
    answers, (failure,) = predict_all([tmp_path / "in"], loaded, keep_identity=keep_identity)
    assert len(answers) == 1
    assert failure["source"] == str(tmp_path / "in")
    assert failure["reason"].startswith("a scan has no prediction: ")
    assert ("canary" in failure["reason"]) == keep_identity
    assert "(6 files)" in failure["reason"]


def test_an_uneven_series_of_another_patient_is_a_failure_and_of_the_same_patient_a_note(loaded, tmp_path):
    for patient, place in (("P-1", "same"), ("P-2", "other")):
        ScanFiles.series(tmp_path / place / "good", ScanFiles.chest(), patient="P-1")
        uneven = ScanFiles.series(tmp_path / place / "uneven", ScanFiles.chest(8), patient=patient, series="1.2.3")
        uneven[3].unlink()
    (answer,), failed = predict_all([tmp_path / "same"], loaded)
    assert failed == []
    assert any(note.startswith("1 other series cannot be used; reason for the first: ") for note in answer["notes"])
    answers, (failure,) = predict_all([tmp_path / "other"], loaded)
    assert len(answers) == 1
    assert "a scan has no prediction" in failure["reason"]


def test_unreadable_files_in_the_folder_of_the_scan_are_noted(loaded, tmp_path):
    files = ScanFiles.series(tmp_path / "ct", ScanFiles.chest())
    (tmp_path / "ct" / "another.dcm").write_bytes(files[0].read_bytes()[:200])
    (answer,), failed = predict_all([tmp_path / "ct"], loaded)
    assert failed == []
    assert any(
        "1 file in the folder of the scan cannot be used, so slices may be missing" in n for n in answer["notes"]
    )


def test_unreadable_files_are_noted_for_the_scan_in_their_folder_only(loaded, tmp_path):
    for patient in ("P-1", "P-2"):
        files = ScanFiles.series(tmp_path / patient, ScanFiles.chest(), patient=patient)
    (tmp_path / "P-2" / "another.dcm").write_bytes(files[0].read_bytes()[:200])
    answers, failed = predict_all([tmp_path], loaded)
    assert failed == []
    assert sorted(any("slices may be missing" in note for note in one["notes"]) for one in answers) == [False, True]


def test_archives_in_a_folder_are_predicted_and_archives_in_archives_are_failures(loaded, tmp_path):
    ScanFiles.series(tmp_path / "in" / "p1", ScanFiles.chest(), patient="P-1")
    for number in range(2, 7):  # more than three files with one reason are reported as one entry
        ScanFiles.series(tmp_path / "other", ScanFiles.chest(seed=number), patient=f"P-{number}")
        zipped(tmp_path / "other", tmp_path / "in" / f"p{number}.zip")
        shutil.rmtree(tmp_path / "other")
    answers, failed = predict_all([tmp_path / "in"], loaded)
    assert failed == []
    assert len({answer["scan"] for answer in answers}) == 6
    zipped(tmp_path / "in", tmp_path / "all.zip")
    answers, failed = predict_all([tmp_path / "all.zip"], loaded)
    assert len(answers) == 1
    assert len(failed) == 1
    assert "(5 files): a zip archive inside another is never read" in failed[0]["reason"]


def test_a_folder_of_archives_only_is_predicted(loaded, tmp_path):
    ScanFiles.series(tmp_path / "scan", ScanFiles.chest())
    (tmp_path / "in").mkdir()
    zipped(tmp_path / "scan", tmp_path / "in" / "scan.zip")
    answers, failed = predict_all([tmp_path / "in"], loaded)
    assert (len(answers), failed) == (1, [])


def test_the_reason_of_a_broken_archive_names_neither_a_temporary_folder_nor_the_archive(loaded, tmp_path):
    ScanFiles.series(tmp_path / "in" / "p1", ScanFiles.chest())
    with zipfile.ZipFile(tmp_path / "in" / "canary.zip", "w") as archive:
        archive.writestr("notes.txt", "nothing")
    answers, (failure,) = predict_all([tmp_path / "in"], loaded)
    assert len(answers) == 1
    assert "canary" not in failure["reason"]
    assert "ildfv-" not in failure["reason"]
    with pytest.raises(InputError, match="must contain a CT scan"):
        loaded.predict(tmp_path / "in" / "canary.zip")


def test_several_failures_are_distinguished_without_identity(loaded, tmp_path):
    inbox = tmp_path / "in"
    ScanFiles.series(inbox / "p1", ScanFiles.chest(), patient="P-1")
    for name in ("canary-a", "canary-b"):
        ScanFiles.series(inbox / name, ScanFiles.chest(), patient=name, RescaleSlope=None)
    ScanFiles.nifti(inbox / "canary-c.nii.gz", np.full((6, 64, 64), 40, np.int16))
    (inbox / "canary-d.nii").write_bytes(b"broken")
    with zipfile.ZipFile(inbox / "canary-e.zip", "w") as archive:
        archive.writestr("notes.txt", "nothing")
    answers, failed = predict_all([inbox], loaded)
    assert len(answers) == 1
    names = [one["scan"] for one in failed]
    assert len(set(names)) == len(failed) == 5
    series = [one for one in failed if one["files"] == 6]
    expected = {pseudonym_of_series(uid_of(inbox / name)) for name in ("canary-a", "canary-b")}
    assert {one["scan"] for one in series} == expected
    assert {name for name in names if name.startswith("unnamed")} == {"unnamed scan 1", "unnamed scan 2"}
    assert "canary" not in str(failed)
    files = sorted((path for path in inbox.rglob("*") if path.is_file()), key=str)
    found = [files[one["position"] - 1].relative_to(inbox).parts[0] for one in failed]
    assert sorted(found) == [
        f"canary-{x}" + s for x, s in zip("abcde", ("", "", ".nii.gz", ".nii", ".zip"), strict=True)
    ]
    assert names == [one["scan"] for one in predict_all([inbox], loaded, keep_identity=True)[1]]


def uid_of(folder):
    return dcmread(next(folder.iterdir()), stop_before_pixels=True).SeriesInstanceUID


def test_a_scan_that_fails_later_has_the_name_of_its_output(loaded, tmp_path, monkeypatch):
    ScanFiles.nifti(tmp_path / "canary.nii.gz", ScanFiles.chest())
    ((answer,), _) = predict_all([tmp_path / "canary.nii.gz"], loaded)

    def fails(*arguments, **options):
        raise InputError("must show lung")

    monkeypatch.setattr("ildfv.inference.inbox.predicted", fails)
    _, (failure,) = predict_all([tmp_path / "canary.nii.gz"], loaded)
    assert (failure["scan"], failure["files"]) == (answer["scan"], 1)


def test_gzipped_dicom_is_a_failure_with_a_remedy(loaded, tmp_path):
    for file in ScanFiles.series(tmp_path / "ct", ScanFiles.chest()):
        file.with_name(file.name + ".gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    answers, (failure,) = predict_all([tmp_path / "ct"], loaded)
    assert answers == []
    assert "read only with `prepare --packed`" in failure["reason"]


def test_the_name_of_a_file_that_is_deleted_during_the_run_is_not_printed(loaded, tmp_path, monkeypatch):
    ScanFiles.series(tmp_path / "in" / "p1", ScanFiles.chest(), patient="P-1")
    path = tmp_path / "in" / "canary-2.nii.gz"
    ScanFiles.nifti(path, ScanFiles.chest())

    def removed(*arguments, **options):
        path.unlink(missing_ok=True)
        path.stat()

    monkeypatch.setattr("ildfv.inference.inbox.predicted", removed)
    answers, failed = predict_all([tmp_path / "in"], loaded)
    assert answers == []
    assert all("No such file" in one["reason"] for one in failed)
    assert "canary" not in str(failed)
