"""Inputs that are not a chest CT of one patient are refused in one line each, and do not end the run."""

import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1]))

from scan_files import ScanFiles

from ildfv.cli.app import app
from ildfv.datasets.discovery import discover
from ildfv.inference.inbox import predict_all
from ildfv.inference.predictor import Predictor
from ildfv.inference.pseudonym import pseudonym_of_series
from ildfv.progress import Lines


def refused(folder, *sources: Path) -> list[str]:
    """The reasons for which these sources are refused."""
    answers, failed = predict_all(sources, folder)
    assert answers == []
    assert len(failed) == len(sources)
    reasons = [one["reason"] for one in failed]
    assert all(reason.isprintable() and len(reason) < 400 for reason in reasons)
    return reasons


def zipped(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return path


def head() -> np.ndarray:
    """HU of a head: skull, brain, and sinuses that are smaller than any lung."""
    y, x = np.mgrid[:64, :64]
    radius = ((x - 32) / 22) ** 2 + ((y - 32) / 26) ** 2
    hu = np.full((6, 64, 64), -1000.0)
    hu[:, radius < 1] = 900
    hu[:, radius < 0.8] = 35
    hu[:, 14:17, 30:34] = -1000
    return np.round(hu + np.random.default_rng(0).normal(0, 5, hu.shape)).clip(-1024).astype(np.int16)


def test_a_slice_without_position_is_predicted_but_not_as_dicom(folder, tmp_path):
    (path,) = ScanFiles.series(tmp_path / "ct", ScanFiles.chest(1))
    dataset = dcmread(path)
    del dataset.ImagePositionPatient
    dataset.save_as(path)
    (answer,), failed = predict_all([path], folder)
    assert not failed
    assert any("ImagePositionPatient" in note for note in answer["notes"])
    result = CliRunner().invoke(app, ["predict", str(path), "-p", str(folder), "--dicom", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert "must have ImagePositionPatient for --dicom, got none: use --out alone" in " ".join(result.output.split())
    assert not list(tmp_path.glob("out/**/*.dcm"))


def test_a_tilted_series_has_a_remedy_that_predict_accepts(folder, tmp_path):
    def tilt(z, dataset):
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 0.978, 0.208]
        return dataset

    ScanFiles.series(tmp_path / "ct", ScanFiles.chest(), change=tilt)
    (reason,) = refused(folder, tmp_path / "ct")
    assert ": use an axial series of the same study (`ildfv prepare --resample` accepts up to 30°, `predict`" in reason


def test_a_picture_has_the_remedy_for_the_usual_kinds_of_images(tmp_path):
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(tmp_path / "a.png")
    (picture,) = discover(tmp_path).ignored
    for window in ("-32768,32767", "-1024,64511", "-1350,150"):
        assert window in picture.reason
        assert f"`{window}`" in (Path(__file__).parents[2] / "docs" / "slices.md").read_text()


def test_a_head_has_no_lung(folder, tmp_path):
    ScanFiles.series(tmp_path / "head", head())
    (reason,) = refused(folder, tmp_path / "head")
    assert "must show lung, at least" in reason


def test_a_scan_without_air_is_not_accepted_as_a_chest(folder, tmp_path):
    water = np.random.default_rng(0).normal(0, 10, (6, 64, 64)).astype(np.int16)
    ScanFiles.series(tmp_path / "water", water)
    (reason,) = refused(folder, tmp_path / "water")
    assert "HU must include air or lung" in reason


@pytest.mark.parametrize(
    ("uid", "modality", "message"),
    [
        ("1.2.840.10008.5.1.4.1.1.1", "CR", "not CT: Computed Radiography Image Storage"),
        ("1.2.840.10008.5.1.4.1.1.4", "MR", "not CT: MR Image Storage"),
    ],
)
def test_the_error_for_an_x_ray_or_mr_names_the_kind_of_image(folder, tmp_path, uid, modality, message):
    ScanFiles.series(tmp_path / "other", ScanFiles.chest(), SOPClassUID=uid, Modality=modality)
    (reason,) = refused(folder, tmp_path / "other")
    assert "must contain a CT scan, got none: " in reason
    assert message in reason


def test_forty_series_in_one_folder_give_one_answer_and_the_reason(folder, tmp_path):
    for number in range(40):
        ScanFiles.series(tmp_path / "many" / f"s{number:02d}", ScanFiles.chest(3 + (number == 17), seed=number))
    (answer,), failed = predict_all([tmp_path / "many"], folder)
    assert failed == []
    assert answer["slices"] == 4
    (note,) = answer["notes"]
    assert note.startswith("40 series were found: 1: 4 slices, 5 mm apart; 2: 3 slices")
    assert "; 40: 3 slices, 5 mm apart. Series 1, with the most slices, is used" in note
    assert note.endswith("choose another with --series NUMBER")


def test_a_series_is_chosen_by_its_number_or_uid(folder, tmp_path):
    ScanFiles.series(tmp_path / "in" / "a", ScanFiles.chest(2), series="1.2.3.4")
    ScanFiles.series(tmp_path / "in" / "b", ScanFiles.chest(3, seed=1))
    for series in ("2", "1.2.3.4"):
        (answer,), _ = predict_all([tmp_path / "in"], folder, series=series)
        assert answer["slices"] == 2
    _, failed = predict_all([tmp_path / "in"], folder, series="3")
    reason = failed[0]["reason"]
    assert reason.startswith("series must be a number from 1 to 2 or the SeriesInstanceUID of a series in")
    assert "got 3. The series are 1: 3 slices" in reason
    assert "1.2.3.4" not in failed[0]["reason"]


def test_a_zip_archive_is_predicted_like_its_folder(folder, tmp_path):
    ScanFiles.series(tmp_path / "in" / "scan", ScanFiles.chest(2))
    archive = zipped(tmp_path / "in", tmp_path / "scan.zip")
    (a,), failed = predict_all([archive], folder)
    (b,), _ = predict_all([tmp_path / "in"], folder)
    assert failed == []
    assert a == b


@pytest.mark.slow
def test_harmful_archives_are_refused_in_one_line(folder, tmp_path):
    outside, bomb, nested = (tmp_path / f"{name}.zip" for name in ("outside", "bomb", "nested"))
    with zipfile.ZipFile(outside, "w") as archive:
        archive.writestr("../../evil.dcm", b"x")
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_BZIP2) as archive, archive.open("zeros.dcm", "w") as file:
        for _ in range(1100):
            file.write(bytes(1 << 20))
    with zipfile.ZipFile(nested, "w") as archive:
        archive.write(outside, "inner.zip")
    traversal, size, inner = refused(folder, outside, bomb, nested)
    assert "paths must stay inside the archive" in traversal
    assert "must unpack to at most" in size
    assert "must contain a CT scan, got none" in inner
    assert not (tmp_path.parent / "evil.dcm").exists()


def test_an_unexpected_error_is_reported_and_the_next_scan_is_answered(folder, tmp_path, monkeypatch):
    for name in ("a", "b"):
        ScanFiles.series(tmp_path / name, ScanFiles.chest(seed=ord(name)))
    real, calls = Predictor.batch_scores, []

    def scores(*arguments, **options):
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("broken\nlines")
        return real(*arguments, **options)

    monkeypatch.setattr(Predictor, "batch_scores", scores)
    answers, failed = predict_all([tmp_path / "a", tmp_path / "b"], folder)
    assert len(answers) == 1
    assert failed[0]["reason"].startswith("unexpected RuntimeError: broken lines (")


OTHER_IMAGES = {
    "MR Image Storage, Modality MR": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4", "Modality": "MR"},
    "Positron Emission Tomography Image Storage, Modality PT": {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.128",
        "Modality": "PT",
    },
    "Computed Radiography Image Storage, Modality CR": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1", "Modality": "CR"},
    "Modality PT": {"Modality": "PT"},
    "ImageType MIP": {"ImageType": ["DERIVED", "SECONDARY", "MIP"]},
}


@pytest.mark.parametrize("image", OTHER_IMAGES)
def test_images_of_a_patient_without_ct_are_a_failed_scan(folder, tmp_path, image):
    for number in range(2):
        ScanFiles.series(tmp_path / "in" / f"p{number}", ScanFiles.chest(3, seed=number), patient=f"P-{number}")
    ScanFiles.series(
        tmp_path / "in" / "canary", ScanFiles.chest(3), patient="P-7", series="1.2.7", **OTHER_IMAGES[image]
    )
    answers, (failure,) = predict_all([tmp_path / "in"], folder)
    assert len(answers) == 2
    assert (failure["scan"], failure["files"], failure["position"]) == (pseudonym_of_series("1.2.7"), 3, 1)
    assert failure["reason"].startswith("a scan has no prediction: … (3 files): not ")
    assert f"{image}; give the CT slices of this patient" in failure["reason"]
    (reason,) = refused(folder, tmp_path / "in" / "canary")
    assert "must contain a CT scan, got none: not " in reason
    assert f"{image}; give the CT slices of this patient" in reason
    (reason,) = refused(folder, zipped(tmp_path / "in" / "canary", tmp_path / "other.zip"))
    assert image in reason


def test_other_images_of_a_patient_with_ct_are_counted_in_a_note(folder, tmp_path, caplog):
    caplog.set_level("INFO", logger="ildfv")
    for number in range(2):
        one = tmp_path / "in" / f"p{number}"
        ScanFiles.series(one / "ct", ScanFiles.chest(3, seed=number), patient=f"P-{number}", series=f"1.2.{number}")
        # The PatientID of the second patient is missing from the PET series, which is in the study of the CT scan.
        pet = {"patient": f"P-{number}"} if number == 0 else {"PatientID": None, "StudyInstanceUID": "1.2.1.1"}
        ScanFiles.series(
            one / "pet", ScanFiles.chest(3), **pet, SOPClassUID="1.2.840.10008.5.1.4.1.1.128", Modality="PT"
        )
    answers, failed = predict_all([tmp_path / "in"], folder, progress=Lines())
    assert (len(answers), failed) == (2, [])
    assert "6 files ignored: not CT: Positron Emission Tomography Image Storage" in caplog.text


def test_objects_and_pictures_that_are_not_scans_are_counted_in_notes(folder, tmp_path, caplog):
    caplog.set_level("INFO", logger="ildfv")
    files = ScanFiles.series(tmp_path / "in" / "p0", ScanFiles.chest(3))
    page = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "Modality": "OT"}
    ScanFiles.series(tmp_path / "in" / "pages", ScanFiles.chest(2), patient="P-7", **page)
    for number, uid in enumerate(("1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.11.1")):  # SR, GSPS
        report = dcmread(files[0])
        for name in ("PixelData", "Rows", "Columns"):
            delattr(report, name)
        report.SOPClassUID, report.SeriesInstanceUID, report.PatientID = uid, f"1.2.88.{number}", "P-8"
        report.save_as(tmp_path / "in" / f"report{number}.dcm")
    ScanFiles.contours(tmp_path / "in" / "rtstruct.dcm", tmp_path / "in" / "p0", {"lung": []})
    Image.new("L", (64, 64)).save(tmp_path / "in" / "screen.png")
    answers, failed = predict_all([tmp_path / "in"], folder, progress=Lines())
    assert (len(answers), failed) == (1, [])
    assert "2 files ignored: not CT: Secondary Capture Image Storage" in caplog.text
    assert "1 file ignored: not CT: Comprehensive SR Storage" in caplog.text
    assert "1 file ignored: an image is read only with" in caplog.text


def test_every_patient_of_a_folder_without_any_ct_has_a_failure(folder, tmp_path):
    for number, image in enumerate(OTHER_IMAGES.values()):
        ScanFiles.series(tmp_path / "in" / f"p{number}", ScanFiles.chest(3), patient=f"P-{number}", **image)
    ScanFiles.series(tmp_path / "in" / "bad", ScanFiles.chest(3), patient="P-9", RescaleSlope=None)
    answers, failed = predict_all([tmp_path / "in"], folder)
    assert answers == []
    assert len({one["scan"] for one in failed}) == len(OTHER_IMAGES) + 1


def test_a_bad_scan_next_to_archives_is_a_failure(folder, tmp_path):
    ScanFiles.series(tmp_path / "scan", ScanFiles.chest())
    (tmp_path / "in").mkdir()
    zipped(tmp_path / "scan", tmp_path / "in" / "scan.zip")
    (tmp_path / "in" / "bad.nii").write_bytes(b"broken")
    answers, (failure,) = predict_all([tmp_path / "in"], folder)
    assert len(answers) == 1
    assert failure["reason"].startswith("a scan has no prediction: …: … must be NIfTI")
