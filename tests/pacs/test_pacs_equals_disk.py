"""A study gives the same prediction from a real Orthanc and from disk, apart from the stated source."""

import json

import pytest
from made import series
from orthanc_server import PASSWORD, USER
from pydicom.uid import generate_uid
from typer.testing import CliRunner

from ildfv.cli.app import app

pytestmark = pytest.mark.slow


@pytest.fixture
def predict(monkeypatch, predictor):
    monkeypatch.setenv("ILDFV_PACS_USER", USER)
    monkeypatch.setenv("ILDFV_PACS_PASSWORD", PASSWORD)

    def run(*arguments) -> dict:
        ended = CliRunner().invoke(app, ["predict", *map(str, arguments), "-p", str(predictor), "--json"])
        assert ended.exit_code == 0, ended.output
        return json.loads(ended.stdout)

    return run


@pytest.fixture
def study(orthanc, tmp_path):
    """(the folder of a study with two CT series of 8 and 5 slices, its address)."""
    uid, folder = generate_uid(), tmp_path / "ct"
    for name, m, modality in (("thin", 8, "CT"), ("thick", 5, "CT")):
        tags = {"StudyInstanceUID": uid, "SeriesInstanceUID": generate_uid(), "Modality": modality}
        series(folder / name, "mirrored", m, patient="MRN-9", PatientName="Name^Of", **tags)
    orthanc.upload(folder)
    return folder, f"dicomweb://{orthanc.web}/studies/{uid}"


def without_source(document: dict) -> dict:
    for answer in document["answers"]:
        answer.get("identity", {}).pop("source", None)
    return document


def test_the_documents_are_equal(study, predict, tmp_path):
    folder, address = study
    here = predict(folder / "thick", "--out", tmp_path / "here")
    there = predict(address, "--series", "2", "--out", tmp_path / "there")
    assert here == there
    (name,) = (answer["scan"] for answer in here["answers"])
    files = sorted(path.name for path in (tmp_path / "here" / name).iterdir())
    assert files == sorted(path.name for path in (tmp_path / "there" / name).iterdir())
    for file in files:
        assert (tmp_path / "here" / name / file).read_bytes() == (tmp_path / "there" / name / file).read_bytes(), file


def test_the_choice_of_a_series_is_in_both_documents(study, predict):
    folder, address = study
    (here,), (there,) = predict(folder)["answers"], predict(address)["answers"]
    assert "2 series were found: 1: 8 slices, 5 mm apart; 2: 5 slices, 5 mm apart. Series 1," in here.pop("notes")[0]
    assert "2 series were found: 1: 8 images; 2: 5 images. Series 1, with the most" in there.pop("notes")[0]
    assert here == there


def test_identity_names_the_address_as_source(study, predict):
    folder, address = study
    here = predict(folder / "thin", "--keep-identity")
    there = predict(address, "--series", "1", "--keep-identity")
    assert here["answers"][0]["identity"]["source"] == str(folder / "thin")
    assert there["answers"][0]["identity"]["source"] == address.replace("dicomweb://", "http://")
    assert without_source(here) == without_source(there)
