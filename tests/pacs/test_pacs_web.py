"""Failures of a DICOMweb server: one line each, no credentials in it, and nothing predicted or stored."""

import base64
import json
import logging
import re

import pytest
from fake_server import FakeServer, dicom_json, multipart
from made import prediction_of, scan_of, series
from orthanc_server import PASSWORD, USER, free_port
from pydicom import dcmread
from pydicom.dataset import Dataset

from ildfv.dicom_output.write import write_objects
from ildfv.errors import InputError, OutOfReachError
from ildfv.pacs import predict, storing, web
from ildfv.pacs.address import parsed
from ildfv.pacs.credentials import Credentials
from ildfv.pacs.predict import predict_and_deliver
from ildfv.pacs.web import WebServer

STUDY, SERIES = "1.2.3", "1.2.3.4"
WHO = Credentials(USER, PASSWORD)


@pytest.fixture(autouse=True)
def _no_predictor(monkeypatch):
    """Fails a test that predicts: all tests of this file must end before that."""
    monkeypatch.setattr(predict.Predictor, "load", lambda *a, **k: None)
    monkeypatch.setattr(predict, "predict_all", lambda paths, *a, **k: pytest.fail("predicted") if paths else ([], []))


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    """Six objects, the report last."""
    root = tmp_path_factory.mktemp("objects")
    series(root / "ct", m=3)
    scan = scan_of(root / "ct")
    return write_objects(root / "out", prediction_of(scan, maps=False), scan.dicom)


def failure(address: str) -> str:
    answered, failed, delivered = predict_and_deliver([address], "predictor", store=True)
    assert (answered, delivered) == ([], [])
    (one,) = failed
    assert "\n" not in one["reason"]
    assert PASSWORD not in json.dumps(one)
    return one["reason"]


def series_item(count: int, modality: str = "CT", uid: str = SERIES) -> Dataset:
    one = Dataset()
    one.SeriesInstanceUID, one.Modality, one.NumberOfSeriesRelatedInstances = uid, modality, count
    return one


def test_an_unreachable_server_gives_a_one_line_error():
    port = free_port()
    found = failure(f"dicomweb://127.0.0.1:{port}/dicom-web/studies/{STUDY}")
    assert found == f"http://127.0.0.1:{port}/dicom-web must be reachable, got connection refused"


def test_an_unknown_host_gives_a_one_line_error():
    found = failure(f"dicomweb://no-such-host.invalid/studies/{STUDY}")
    assert found == "https://no-such-host.invalid must be reachable, got an unknown host"


def test_a_server_that_does_not_answer_gives_a_one_line_error(monkeypatch):
    import socket

    monkeypatch.setattr(web, "TIMEOUT", (1, 0.3))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert failure(f"http://127.0.0.1:{port}/studies/{STUDY}") == (
            f"http://127.0.0.1:{port} must be reachable, got no response in time"
        )


def test_the_error_for_a_server_without_tls_names_the_remedy():
    with FakeServer(lambda *request: dicom_json()) as server:
        assert "use http://… for a server without TLS" in failure(f"https://{server.web}/studies/{STUDY}")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((401, "text/plain", b"no"), "refused the credentials (HTTP 401): check ILDFV_PACS_USER and ILDFV_PACS_PASS"),
        ((403, "text/plain", b"no"), "refused the credentials (HTTP 403)"),
        ((404, "text/plain", b"no"), f"has no study {STUDY} (HTTP 404)"),
        (dicom_json(), f"has no study {STUDY}"),
        ((204, "text/plain", b""), f"has no study {STUDY}"),
        ((500, "text/html", b"<h1>Error</h1>"), f"refused study {STUDY} with HTTP 500"),
        ((200, "text/html", b"<h1>Login</h1>"), "must be a DICOMweb server, got JSONDecodeError"),
        ((200, "application/json", b'[{"a": 1}]'), "must be a DICOMweb server, got an invalid response"),
        (dicom_json(series_item(3, "MR")), "must have a CT series, got MR"),
    ],
)
def test_an_answer_without_a_scan_gives_a_one_line_error(answer, expected):
    with FakeServer(lambda *request: answer) as server:
        assert expected in failure(f"dicomweb://{server.web}/studies/{STUDY}")


def sends(files, announced: int):
    def answer(method, path, body):
        if path.startswith(f"/dicom-web/studies/{STUDY}/series/{SERIES}"):
            return multipart(*(file.read_bytes() for file in files))
        return dicom_json(series_item(announced))

    return answer


def test_an_incomplete_series_is_not_predicted(tmp_path):
    files = series(tmp_path / "ct", m=3)
    with FakeServer(sends(files, 5)) as server:
        found = failure(f"dicomweb://{server.web}/studies/{STUDY}")
    assert found.endswith(f"must send all 5 instances of series {SERIES}, got 3")


def test_a_broken_transfer_is_not_predicted(tmp_path):
    files = series(tmp_path / "ct", m=3)
    files[0].write_bytes(b"no DICOM")
    with FakeServer(sends(files, 3)) as server:
        assert "must be a DICOMweb server, got an invalid response" in failure(
            f"dicomweb://{server.web}/studies/{STUDY}"
        )


def test_a_full_disk_while_receiving_gives_a_one_line_error(tmp_path, monkeypatch):
    files = series(tmp_path / "ct", m=3)

    def full(folder, size):
        raise InputError(f"not enough disk space for {folder}")

    monkeypatch.setattr(web, "check_space", full)
    with FakeServer(sends(files, 3)) as server:
        assert failure(f"dicomweb://{server.web}/studies/{STUDY}").startswith("not enough disk space for ")


def test_received_files_are_the_bytes_that_the_server_has(tmp_path):
    files = series(tmp_path / "ct", m=3)
    (tmp_path / "got").mkdir()
    with FakeServer(sends(files, 3)) as server:
        address = parsed(f"dicomweb://{server.web}/studies/{STUDY}")
        WebServer(address, WHO).fetch(address, tmp_path / "got", series=None)
        asked = [headers["Accept"] for _, path, headers, _ in server.requests if path.endswith(SERIES)]
    assert [dcmread(one) for one in sorted((tmp_path / "got").iterdir())] == [dcmread(one) for one in files]
    assert "transfer-syntax=*" in asked[0]  # as stored, not decompressed


def test_the_series_with_most_images_is_chosen_unless_one_is_named(tmp_path):
    listed = dicom_json(series_item(2, uid="1.5"), series_item(9, uid="1.6"), series_item(99, "SR", uid="1.7"))
    with FakeServer(lambda *request: listed) as server:
        for ending, uid in (("", "1.6"), ("/series/1.5", "1.5")):
            address = parsed(f"dicomweb://{server.web}/studies/{STUDY}{ending}")
            with pytest.raises(InputError):
                WebServer(address, WHO).fetch(address, tmp_path, series=None)
            assert server.requests[-1][1].endswith(f"/series/{uid}")


class Store:
    """A server that refuses all objects from the given one on, or accepts objects without storing them.

    removes: the interface that removes objects, "web" or "orthanc"; "" for none.
    """

    def __init__(self, refuse_from: int = 99, answer=(200, "text/plain", b""), keep: bool = True, removes: str = ""):
        self.refuse_from, self.answer, self.keep, self.removes = refuse_from, answer, keep, removes
        self.instances: list[tuple[str, str]] = []
        self.received = 0

    def __call__(self, method, path, body):
        if method == "DELETE" or path == "/tools/lookup":
            return self._remove(method, path, body.decode())
        if method == "POST":
            self.received += 1
            if self.received >= self.refuse_from:
                return self.answer
            if self.keep:
                uids = re.findall(rb"2\.25\.\d+", body)
                self.instances.append((path, uids[0].decode()))
            return 200, "text/plain", b""
        return dicom_json(*(self._listed(uid) for _, uid in self.instances))

    def _remove(self, method, path, uid: str) -> tuple[int, str, bytes]:
        if method == "POST" and self.removes == "orthanc":
            return 200, "application/json", json.dumps([{"Type": "Instance", "Path": f"/instances/{uid}"}]).encode()
        if self.removes != ("web" if path.startswith("/dicom-web/") else "orthanc"):
            return 405, "text/plain", b""
        self.instances = [one for one in self.instances if one[1] != path.rpartition("/")[2]]
        return 200, "application/json", b"{}"

    def _listed(self, uid: str) -> Dataset:
        one = Dataset()
        one.SOPInstanceUID = uid
        return one


def refused() -> tuple[int, str, bytes]:
    item, answer = Dataset(), Dataset()
    item.ReferencedSOPInstanceUID, item.FailureReason = "1.2", 0xA700
    answer.FailedSOPSequence = [item]
    return 409, "application/dicom+json", json.dumps(answer.to_json_dict()).encode()


def test_every_object_is_sent_whole_with_the_report_last(objects, caplog):
    caplog.set_level(logging.DEBUG)
    with FakeServer(Store()) as server:
        assert WebServer(parsed(f"dicomweb://{server.web}"), WHO).store(objects) == 6
        posted = [(headers, body) for method, _, headers, body in server.requests if method == "POST"]
    assert all("Transfer-Encoding" not in headers for headers, _ in posted)  # Orthanc may ignore such requests
    assert max(len(body) for _, body in posted) > 10**6  # so large that dicomweb-client would send chunks by default
    assert str(dcmread(objects[-1]).SOPInstanceUID).encode() in posted[-1][1]
    assert objects[-1].name == "report.dcm"
    assert PASSWORD not in caplog.text
    assert base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode() not in caplog.text


@pytest.mark.parametrize("removes", ["web", "orthanc", ""])
@pytest.mark.parametrize("first", [1, 4])
def test_objects_stored_before_the_disk_is_full_are_removed_or_named(objects, first, removes):
    store = Store(first, refused(), removes=removes)
    with FakeServer(store) as server, pytest.raises(InputError) as raised:
        WebServer(parsed(f"dicomweb://{server.web}"), WHO).store(objects)
    text = str(raised.value)
    assert text.startswith(f"http://{server.web} refused {objects[first - 1].name} with HTTP 409 and failure 0xA700 (")
    assert "\n" not in text
    names = ", ".join(path.name for path in objects[: first - 1])
    if first == 1:
        assert text.endswith("(0 of 6 objects are stored; run the command again)")
    elif removes:
        assert text.endswith("(3 objects of this run were removed, 0 of 6 objects are stored; run the command again)")
    else:
        assert text.endswith(
            f"(3 of 6 objects are stored, because the server did not remove {names}; run the command again for the "
            "others)"
        )
    assert len(store.instances) == (0 if removes else first - 1)
    with FakeServer(Store()) as server:  # when there is space again, the same command stores all
        assert WebServer(parsed(f"dicomweb://{server.web}"), WHO).store(objects) == 6


def test_objects_of_an_earlier_run_are_not_removed(objects):
    store = Store(removes="web")
    with FakeServer(store) as server:
        WebServer(parsed(f"dicomweb://{server.web}"), WHO).store(objects[:2])
        store.refuse_from, store.answer = store.received + 4, refused()
        with pytest.raises(InputError, match="1 object of this run was removed, 2 of 6 objects are stored; run"):
            WebServer(parsed(f"dicomweb://{server.web}"), WHO).store(objects)
    assert len(set(store.instances)) == 2


def test_a_server_without_the_series_may_answer_404(objects):
    store = Store()

    def strict(method, path, body):
        return (404, "text/plain", b"") if method == "GET" and not store.instances else store(method, path, body)

    with FakeServer(strict) as server:
        assert WebServer(parsed(f"dicomweb://{server.web}"), WHO).store(objects) == 6


def test_a_server_that_accepts_and_stores_nothing_is_noticed_at_the_first_object(objects, monkeypatch):
    monkeypatch.setattr(storing, "PAUSE", 0.01)
    expected = r"accepted \S+ but did not store it: check its log and free space \(0 of 6 objects are stored; run"
    with FakeServer(Store(keep=False)) as server:
        with pytest.raises(InputError, match=expected):
            WebServer(parsed(f"dicomweb://{server.web}"), WHO).store(objects)
        assert [method for method, *_ in server.requests].count("POST") == 1


def test_a_server_that_discards_what_it_stored_is_noticed(objects, monkeypatch):
    monkeypatch.setattr(storing, "PAUSE", 0.01)
    store = Store()

    def forgetful(method, path, body):
        if method == "GET" and store.received == 6 and len(store.instances) == 6:
            store.instances = store.instances[-1:]  # like a server that deletes old objects when its disk is full
        return store(method, path, body)

    with (
        FakeServer(forgetful) as server,
        pytest.raises(InputError, match="must list all objects that it accepted, got 1 of 6: check its log"),
    ):
        WebServer(parsed(f"dicomweb://{server.web}"), WHO).store(objects)


def test_a_server_that_is_down_gives_a_one_line_error(objects):
    with FakeServer(Store()) as server:
        address = parsed(f"dicomweb://{server.web}")
    with pytest.raises(OutOfReachError, match="must be reachable, got connection refused"):
        WebServer(address, WHO).store(objects)


def test_a_token_is_sent_as_a_bearer_token():
    with FakeServer(lambda *request: dicom_json()) as server:
        address = parsed(f"dicomweb://{server.web}/studies/{STUDY}")
        with pytest.raises(InputError):
            WebServer(address, Credentials(token="t-1")).fetch(address, None, series=None)
        assert server.requests[0][2]["Authorization"] == "Bearer t-1"
