"""Scans in zip archives in the viewer."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from viewer_support import SLICES, client

from ildfv.errors import InputError
from ildfv.viewer.study import open_study

pytest.importorskip("httpx")  # which Starlette's test client needs


@pytest.fixture
def archive(scan, tmp_path):
    return Path(shutil.make_archive(str(tmp_path / "sent"), "zip", scan))


def test_a_scan_in_an_archive_equals_the_scan_in_a_folder(archive, scan, prediction, tmp_path, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with client(prediction, scan, codes="phantom") as plain, client(prediction, archive, codes="phantom") as one:
        documents = [each.get("api/scan/0").json() for each in (one, plain)]
        assert documents[0] | {"correctable": True, "not_correctable": ""} == documents[1]
        for path in ("slice", "labels"):
            answers = [each.get(f"api/scan/0/{path}/2").content for each in (one, plain)]
            assert answers[0] == answers[1]
        assert "zip archive" in documents[0]["not_correctable"]
        assert list(temporary.iterdir())


def test_the_folder_of_an_archive_is_removed_at_the_end(archive, tmp_path, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with open_study([archive]) as study:
        assert len(study.scans[0]) == SLICES
        assert list(temporary.iterdir())
    assert not list(temporary.iterdir())


def test_an_archive_without_a_scan_is_named_and_its_folder_removed(tmp_path, monkeypatch):
    temporary = tmp_path / "temporary"
    (tmp_path / "letters").mkdir()
    temporary.mkdir()
    (tmp_path / "letters" / "a.txt").write_text("a letter")
    archive = tmp_path / "letters.zip"
    shutil.make_archive(str(archive.with_suffix("")), "zip", tmp_path / "letters")
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with pytest.raises(InputError, match=r"letters\.zip must contain a CT scan"):
        open_study([archive])
    assert not list(temporary.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_folder_of_an_archive_is_removed_when_the_command_ends(ending, archive, tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    command = [sys.executable, "-m", "ildfv", "view", archive, "--json"]
    environment = os.environ | {"TMPDIR": str(temporary)}
    # A test run in the background of a shell ignores SIGINT, and its children inherit this.
    options = {"env": environment, "preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options) as server:
        while "}" not in server.stdout.readline():
            assert server.poll() is None
        assert list(temporary.iterdir())
        server.send_signal(ending)
    assert not list(temporary.iterdir())
