"""The start of the viewer: the socket of the server, and what the page contains before its first request."""

import json
import socket
from dataclasses import replace

import pytest
import uvicorn
from viewer_support import SLICES, client, make_prediction, start_of

from ildfv.viewer.predictions import read_answer
from ildfv.viewer.serve import serve
from ildfv.viewer.study import open_study

pytest.importorskip("httpx")  # needed by the test client of Starlette


def test_small_responses_are_sent_without_delay(scan, monkeypatch):
    """Each connection has TCP_NODELAY, which asyncio sets on sockets whose protocol is stated to be TCP."""
    listening = []
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: listening.extend(s.proto for s in sockets))
    with open_study([scan]) as study:
        serve(study, ready=lambda address: None)
    assert listening == [socket.IPPROTO_TCP]


def test_the_page_contains_the_study_and_the_scan_that_it_shows_first(scan, prediction):
    with client(prediction, scan, codes="phantom") as page:
        start = start_of(page)
        assert [scan["slices"] for scan in start["study"]["scans"]] == [SLICES]
        assert start["scan"] == page.get(f"api/scan/{start['number']}").json()
        assert any(start["study"]["scans"][start["number"]]["predicted"].values())


def test_no_text_of_a_scan_can_end_the_element(scan):
    with open_study([scan]) as study:
        study.scans[0] = replace(study.scans[0], notes=["</script><script>alert(1)</script><!--"])
        from starlette.testclient import TestClient

        from ildfv.viewer.app import application

        page = TestClient(application(study, "token", {"host"}), base_url="http://host/token/")
        assert start_of(page)["scan"]["notes"] == study.scans[0].notes
        assert "<script>alert" not in page.get("").text


def test_the_stored_presence_of_a_prediction_is_shown(scan, tmp_path):
    """A slice outside the lung shows no pattern, although its score reaches the threshold."""
    folder = make_prediction(tmp_path / "answer", scan, maps=False)
    content = json.loads((folder / "prediction.json").read_text())
    stored = content["heads"]["fv-conv1"]["per_slice"]["presence"]
    assert stored[-1] == [True] * 4
    stored[-1] = [False, False, False, None]
    (folder / "prediction.json").write_text(json.dumps(content))
    shown = read_answer(folder).systems[0].presence()
    assert shown[-1].tolist() == [0, 0, 0, -1]
    assert shown[:-1].tolist() == [[int(one) for one in row] for row in stored[:-1]]
