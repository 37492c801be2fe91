"""A real Orthanc: scans are read from it by DICOMweb, and objects stored into it by STOW-RS and C-STORE."""

import json
import logging

import numpy as np
import pytest
from made import series
from orthanc_server import PASSWORD, USER
from pydicom import dcmread
from typer.testing import CliRunner

from ildfv.cli.app import app
from ildfv.errors import InputError
from ildfv.pacs.address import parsed
from ildfv.pacs.credentials import Credentials
from ildfv.pacs.storing import Storing
from ildfv.pacs.web import WebServer

pytestmark = pytest.mark.slow
OBJECTS = {"SR": 1, "SEG": 1, "OT": 9}  # objects by modality: a report, a segmentation, 4 maps and 5 pictures


@pytest.fixture
def credentials(monkeypatch):
    monkeypatch.setenv("ILDFV_PACS_USER", USER)
    monkeypatch.setenv("ILDFV_PACS_PASSWORD", PASSWORD)


def predict(*arguments, code: int = 0) -> dict:
    ended = CliRunner().invoke(app, ["predict", *map(str, arguments), "--json"])
    assert ended.exit_code == code, ended.output
    assert PASSWORD not in ended.output
    return json.loads(ended.stdout)


def counted(orthanc, without: str = "CT") -> dict[str, int]:
    kinds = [kind for kind in orthanc.instances().values() if kind != without]
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


def study_of(folder) -> tuple[str, str]:
    one = dcmread(next(folder.iterdir()))
    return one.StudyInstanceUID, one.SeriesInstanceUID


@pytest.mark.parametrize("form", ["dicomweb://{}/studies/{}", "http://{}/studies/{}/series/{}"])
def test_a_study_is_read_predicted_and_stored_once(orthanc, credentials, predictor, tmp_path, form, caplog):
    series(tmp_path / "ct", "mirrored", patient="MRN-9", PatientName="Name^Of")
    orthanc.upload(tmp_path / "ct")
    address = form.format(orthanc.web, *study_of(tmp_path / "ct"))
    caplog.set_level(logging.DEBUG)
    document = predict(address, "--predictor", predictor, "--store")
    assert document["failed"] == []
    (delivered,) = document["dicom"]
    assert (delivered["objects"], delivered["stored"]) == (11, 11)
    assert counted(orthanc) == OBJECTS
    before = orthanc.instances()
    assert predict(address, "--predictor", predictor, "--store")["dicom"] == document["dicom"]
    assert orthanc.instances() == before
    local = predict(tmp_path / "ct", "--predictor", predictor)
    (there,), (here,) = document["answers"], local["answers"]
    assert there["scan"] == here["scan"]
    scores = [answer["heads"]["fv-conv1"]["per_slice"]["scores"] for answer in (there, here)]
    np.testing.assert_allclose(*scores, atol=1e-9)
    (patient,) = orthanc.rest("/patients?expand")  # all objects belong to the patient of the scan
    assert patient["MainDicomTags"]["PatientID"] == "MRN-9"
    assert len(orthanc.rest("/studies")) == 1
    assert PASSWORD not in orthanc.log.read_text() + caplog.text


def test_objects_read_back_equal_the_written_ones(orthanc, credentials, predictor, tmp_path):
    series(tmp_path / "ct", "oblique")
    orthanc.upload(tmp_path / "ct")
    study, _ = study_of(tmp_path / "ct")
    predict(f"dicomweb://{orthanc.web}/studies/{study}", "-p", predictor, "--store", "--dicom", tmp_path / "out")
    client = WebServer(parsed(f"dicomweb://{orthanc.web}"), Credentials(USER, PASSWORD))._client
    for path in (tmp_path / "out").rglob("*.dcm"):
        here = dcmread(path)
        there = client.retrieve_instance(here.StudyInstanceUID, here.SeriesInstanceUID, here.SOPInstanceUID)
        assert there == here
        if "PixelData" in here:
            np.testing.assert_array_equal(there.pixel_array, here.pixel_array)


def test_scans_on_disk_are_stored_by_dicomweb_or_c_store(orthanc, credentials, predictor, tmp_path):
    series(tmp_path / "ct")
    arguments = [tmp_path / "ct", "--predictor", predictor, "--store"]
    (delivered,) = predict(*arguments, orthanc.entity)["dicom"]
    assert delivered["stored"] == 11
    assert counted(orthanc) == OBJECTS
    before = orthanc.instances()
    (delivered,) = predict(*arguments, f"dicomweb://{orthanc.web}")["dicom"]
    assert delivered["stored"] == 11
    assert orthanc.instances() == before


def test_objects_of_an_earlier_run_are_stored_without_another_prediction(
    orthanc, credentials, predictor, tmp_path, monkeypatch
):
    series(tmp_path / "ct")
    arguments = [tmp_path / "ct", "-p", predictor, "--out", tmp_path / "out", "--dicom", tmp_path / "dicom"]
    predict(*arguments)
    assert counted(orthanc) == {}
    monkeypatch.setattr("ildfv.inference.predict.predict_volume", lambda *a, **k: pytest.fail("predicted again"))
    assert predict(*arguments, "--store", orthanc.entity)["dicom"][0]["stored"] == 11
    assert counted(orthanc) == OBJECTS


def test_after_a_failure_orthanc_has_nothing_of_the_run_and_the_same_command_stores_all(
    orthanc, credentials, predictor, tmp_path, monkeypatch
):
    series(tmp_path / "ct")
    send = Storing._send

    def full(storing, path, instance):
        if path.name == "segmentation.dcm":
            raise InputError(f"{storing.address} refused {path.name} with failure 0xA700")
        send(storing, path, instance)

    arguments = [tmp_path / "ct", "-p", predictor, "--store", f"dicomweb://{orthanc.web}"]
    monkeypatch.setattr(Storing, "_send", full)
    (failed,) = predict(*arguments, code=1)["failed"]
    assert failed["reason"].endswith(
        "objects of this run were removed, 0 of 11 objects are stored; run the command again)"
    )
    assert orthanc.instances() == {}
    monkeypatch.undo()
    monkeypatch.setenv("ILDFV_PACS_USER", USER)
    monkeypatch.setenv("ILDFV_PACS_PASSWORD", PASSWORD)
    assert predict(*arguments)["dicom"][0]["stored"] == 11
    assert counted(orthanc) == OBJECTS


def test_a_wrong_password_stores_nothing_and_gives_a_one_line_error(orthanc, predictor, tmp_path, monkeypatch):
    series(tmp_path / "ct")
    monkeypatch.setenv("ILDFV_PACS_USER", USER)
    monkeypatch.setenv("ILDFV_PACS_PASSWORD", f"{PASSWORD}-wrong")
    (failed,) = predict(tmp_path / "ct", "-p", predictor, "--store", f"dicomweb://{orthanc.web}", code=1)["failed"]
    assert failed["reason"] == (
        f"http://{orthanc.web} refused the credentials (HTTP 401): check ILDFV_PACS_USER and ILDFV_PACS_PASSWORD, or "
        "ILDFV_PACS_TOKEN"
    )
    assert orthanc.instances() == {}


@pytest.mark.parametrize("what", ["study", "series"])
def test_a_missing_study_or_series_gives_a_one_line_error(orthanc, credentials, predictor, tmp_path, what):
    series(tmp_path / "ct")
    orthanc.upload(tmp_path / "ct")
    study, _ = study_of(tmp_path / "ct")
    address = f"dicomweb://{orthanc.web}/studies/" + ("1.2.3" if what == "study" else f"{study}/series/1.2.3")
    (failed,) = predict(address, "-p", predictor, "--store", code=1)["failed"]
    expected = f"http://{orthanc.web} has no study 1.2.3"
    if what == "series":
        expected = f"study {study} on http://{orthanc.web} has no series 1.2.3"
    assert failed == {"source": address.replace("dicomweb://", "http://"), "reason": expected}
    assert counted(orthanc) == {}


def test_a_wrong_title_of_the_entity_gives_a_one_line_error(orthanc, predictor, tmp_path):
    series(tmp_path / "ct")
    address = orthanc.entity.replace("ORTHANC", "OTHER")
    (failed,) = predict(tmp_path / "ct", "-p", predictor, "--store", address, code=1)["failed"]
    assert failed["reason"] == (
        f"{address} rejected the association: check its AE title, and that it accepts the calling AE title "
        "ILDFV, which ILDFV_AET sets"
    )
    assert orthanc.instances() == {}
