"""The start of the viewer: the socket of the server, and what the page contains before its first request."""

import socket
from dataclasses import replace

import pytest
import uvicorn
from viewer_support import SLICES, client, start_of

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


def test_the_page_contains_the_study_and_the_case_that_it_shows_first(scan, prediction):
    with client(prediction, scan, codes="phantom") as page:
        start = start_of(page)
        assert [case["slices"] for case in start["study"]["cases"]] == [SLICES]
        assert start["case"] == page.get(f"api/case/{start['number']}").json()
        assert any(start["study"]["cases"][start["number"]]["predicted"].values())


def test_no_text_of_a_case_can_end_the_element(scan):
    with open_study([scan]) as study:
        study.cases[0] = replace(study.cases[0], notes=["</script><script>alert(1)</script><!--"])
        from starlette.testclient import TestClient

        from ildfv.viewer.app import application

        page = TestClient(application(study, "token", {"host"}), base_url="http://host/token/")
        assert start_of(page)["case"]["notes"] == study.cases[0].notes
        assert "<script>alert" not in page.get("").text
