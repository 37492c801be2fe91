"""New scans: answered like training slices, refused in one line, without anyone's identity in any output."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1]))

from scan_files import ScanFiles

from ildfv.cli.app import app
from ildfv.errors import InputError
from ildfv.inference.inbox import predict_all
from ildfv.inference.outputs import to_scan_grid
from ildfv.inference.page import prediction_page
from ildfv.inference.predictor import Predictor
from ildfv.scans.windows import SIZE, windowed

SECRET = "CANARY-7731"


def test_a_dicom_folder_and_its_conversion_have_the_same_scores(folder, tmp_path):
    hu = ScanFiles.chest()
    ScanFiles.series(tmp_path / "dicom", hu)
    ScanFiles.nifti(tmp_path / "ct.nii.gz", hu)
    predictor = Predictor.load(folder)
    a, b = (predictor.predict(tmp_path / name) for name in ("dicom", "ct.nii.gz"))
    np.testing.assert_allclose(a.head.scores, b.head.scores, atol=1e-9)
    assert len(a.positions) == len(hu)


def test_slices_are_prepared_as_for_training(folder, tmp_path):
    hu = ScanFiles.chest()
    ScanFiles.series(tmp_path / "dicom", hu)
    predictor = Predictor.load(folder)
    expected = predictor.scores(np.stack([windowed(one) for one in hu]), 16.0)
    np.testing.assert_allclose(predictor.predict(tmp_path / "dicom").head.scores, expected["fv-conv1"], atol=1e-9)


def test_all_files_are_written_and_hold_the_same_answer(folder, tmp_path):
    ScanFiles.series(tmp_path / "dicom", ScanFiles.chest())
    (answer,), failed = predict_all([tmp_path / "dicom"], folder, out=tmp_path / "out")
    assert failed == []
    (written,) = (tmp_path / "out").iterdir()
    assert json.loads((written / "prediction.json").read_text()) == json.loads(json.dumps(answer))
    rows = (written / "slices.csv").read_text().splitlines()
    assert len(rows) == 1 + answer["slices"]
    page = (written / "prediction.html").read_text()
    assert "Research use only" in page
    assert "http" not in page.replace("http://www.w3.org", "")  # works offline


def test_maps_lie_on_the_grid_of_the_scan_and_add_up_to_the_score(folder, tmp_path):
    hu = ScanFiles.chest()
    ScanFiles.nifti(tmp_path / "ct.nii.gz", hu)
    source = nibabel.load(tmp_path / "ct.nii.gz")
    predict_all([tmp_path / "ct.nii.gz"], folder, out=tmp_path / "out")
    (written,) = (tmp_path / "out").iterdir()
    prediction = Predictor.load(folder).predict(tmp_path / "ct.nii.gz")
    offset = Predictor.load(folder)._fisher["fv-conv1"].offset
    for c, pattern in enumerate(prediction.patterns):
        image = nibabel.load(written / f"{pattern.replace(' ', '-')}-contributions.nii.gz")
        assert image.shape == source.shape
        corners = np.array([[0, 0, 0, 1], [63, 0, 0, 1], [0, 63, 5, 1], [63, 63, 5, 1]]).T
        found = {tuple(np.round(p, 3)) for p in (image.affine @ corners)[:3].T}
        assert found == {tuple(np.round(p, 3)) for p in (source.affine @ corners)[:3].T}
        sums = image.get_fdata().sum(axis=(0, 1))
        np.testing.assert_allclose(sums, prediction.head.scores[:, c] - offset[c], atol=1e-4)


@pytest.mark.parametrize("shape", [(512, 512), (64, 64), (300, 512)])
def test_a_map_on_the_scans_grid_keeps_its_sum_and_place(shape):
    planes = np.zeros((1, SIZE, SIZE))
    planes[0, 100:120, 50:80] = 1.0
    found = to_scan_grid(planes, shape)[0]
    assert found.shape == shape
    assert found.sum() == pytest.approx(planes.sum(), rel=1e-9)
    rows, columns = np.nonzero(found)
    side = max(shape)
    assert (rows.mean() + (side - shape[0]) // 2) * SIZE / side == pytest.approx(109.5, abs=2.0)
    assert columns.mean() * SIZE / side == pytest.approx(64.5, abs=2.0)


def test_no_identity_is_in_any_output(folder, tmp_path):
    ScanFiles.series(
        tmp_path / "in" / "dicom", ScanFiles.chest(), patient=SECRET, PatientName=f"{SECRET}^X", StudyID=SECRET,
        AccessionNumber=SECRET, InstitutionName=SECRET,
    )  # fmt: skip
    result = CliRunner().invoke(
        app, ["predict", str(tmp_path / "in" / "dicom"), "--predictor", str(folder), "--out", str(tmp_path / "out")]
    )
    assert result.exit_code == 0, result.output
    assert SECRET not in result.output
    for path in (tmp_path / "out").rglob("*"):
        assert SECRET not in path.name
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes()


def test_a_bad_scan_is_reported_and_the_others_are_answered(folder, tmp_path):
    ScanFiles.series(tmp_path / "good", ScanFiles.chest())
    (tmp_path / "bad.nii.gz").write_bytes(b"x")
    ScanFiles.nifti(tmp_path / "water.nii.gz", np.full((6, 64, 64), 0, np.int16))
    arguments = [str(tmp_path / name) for name in ("bad.nii.gz", "good", "water.nii.gz", "missing")]
    result = CliRunner().invoke(app, ["predict", *arguments, "--predictor", str(folder), "--json"])
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert len(document["answers"]) == 1
    assert [Path(one["source"]).name for one in document["failed"]] == ["bad.nii.gz", "water.nii.gz", "missing"]
    assert all(one["reason"] and "\n" not in one["reason"] for one in document["failed"])
    shown = CliRunner().invoke(app, ["predict", *arguments, "--predictor", str(folder)])
    assert shown.exit_code == 1, shown.output
    assert "predictor trained on PHANTOMS" in shown.output
    assert document["failed"][1]["scan"].startswith("scan-")
    for one in document["failed"]:
        where = ", ".join([one["source"], *([one["scan"]] if "scan" in one else [])])
        assert f"{where}: {one['reason']}" in shown.output


def test_a_finished_scan_is_not_predicted_again(folder, tmp_path, monkeypatch):
    ScanFiles.series(tmp_path / "dicom", ScanFiles.chest())
    first, _ = predict_all([tmp_path / "dicom"], folder, out=tmp_path / "out")
    monkeypatch.setattr("ildfv.inference.predict.predict_volume", lambda *a, **k: pytest.fail("predicted again"))
    again, _ = predict_all([tmp_path / "dicom"], folder, out=tmp_path / "out")
    assert again == json.loads(json.dumps(first))


def test_of_several_series_of_a_patient_the_longest_is_used_with_a_note(folder, tmp_path):
    ScanFiles.series(tmp_path / "in" / "a", ScanFiles.chest(5))
    ScanFiles.series(tmp_path / "in" / "b", ScanFiles.chest(8, seed=1))
    prediction = Predictor.load(folder).predict(tmp_path / "in")
    assert len(prediction.positions) == 8
    assert prediction.notes == [
        "2 series were found: 1: 8 slices, 5 mm apart; 2: 5 slices, 5 mm apart. Series 1, with the most slices, is "
        "used; choose another with --series NUMBER"
    ]


def test_a_folder_of_two_patients_is_read_as_two_scans(folder, tmp_path):
    ScanFiles.series(tmp_path / "in" / "a", ScanFiles.chest(5), patient="A")
    ScanFiles.series(tmp_path / "in" / "b", ScanFiles.chest(6, seed=1), patient="B")
    with pytest.raises(InputError, match="must contain one patient, got 2"):
        Predictor.load(folder).predict(tmp_path / "in")
    answers, failed = predict_all([tmp_path / "in"], folder)
    assert sorted(answer["slices"] for answer in answers) == [5, 6]
    assert failed == []


def test_a_scan_unlike_the_training_slices_is_reported_as_different(folder, tmp_path):
    ScanFiles.series(tmp_path / "dicom", ScanFiles.chest())
    statements = Predictor.load(folder).predict(tmp_path / "dicom").statements
    assert statements[0].startswith("The scan differs from the training data in")
    assert any("Pixels are 4.00 mm wide; the training scans have pixels of 0.71 mm." in one for one in statements)


def test_marks_that_change_how_text_appears_are_escaped_on_the_page(folder, tmp_path):
    ScanFiles.series(tmp_path / "dicom", ScanFiles.chest(2))
    answer = Predictor.load(folder).predict(tmp_path / "dicom")
    hidden = "\u202egnp.x\u202c \x1b[2J"
    page = prediction_page(replace(answer, scan=hidden, notes=[hidden], statements=[hidden]))
    assert not {"\u202e", "\u202c", "\x1b"} & set(page)
    assert page.count(r"\u202egnp.x\u202c \x1b[2J") == 4
