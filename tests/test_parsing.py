"""Settings, tables and lists are parsed within limits: any invalid file gives one line of error."""

import json
import os
import threading

import numpy as np
import pytest

from ildfv import parsing
from ildfv.errors import InputError
from ildfv.evaluation.folds import Folds
from ildfv.parsing import check_regular, open_regular, parse_json, read_bytes, read_toml
from ildfv.patterns import PATTERNS
from ildfv.pipeline.workspace import Workspace
from ildfv.scans.labels import Codes
from ildfv.store.atomic import check_gzip, read_json, sha256
from ildfv.store.models import verify_model
from ildfv.store.parts import Parts, write_part

DEEP_TOML = "a = " + "[" * 3000 + "]" * 3000
DEEP_JSON = "[" * 200_000 + "]" * 200_000
SECONDS = 10  # after this time a read counts as hanging


def load_folds(path):
    return Folds.load(path, PATTERNS)


def one_line(read) -> str:
    """The message of the InputError that `read` raises within SECONDS."""
    ended = []

    def call():
        try:
            read()
            ended.append("nothing was refused")
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert ended, f"no answer within {SECONDS} s"
    assert isinstance(ended[0], InputError), ended[0]
    assert "\n" not in str(ended[0])
    return str(ended[0])


@pytest.fixture
def pipe(tmp_path):
    """A function that creates a named pipe of that name without a writer."""

    def make(name: str):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path)
        return path

    return make


@pytest.mark.parametrize("read", [read_toml, Codes.load])
def test_deeply_nested_toml_gives_a_one_line_error(read, tmp_path):
    path = tmp_path / "codes.toml"
    path.write_text(DEEP_TOML)
    assert "nested too deeply" in one_line(lambda: read(path))


def test_a_deeply_nested_workspace_gives_a_one_line_error(tmp_path):
    (tmp_path / "workspace.toml").write_text(DEEP_TOML)
    assert "nested too deeply" in one_line(lambda: Workspace.open(tmp_path))


@pytest.mark.parametrize("read", [read_json, load_folds])
def test_deeply_nested_json_gives_a_one_line_error(read, tmp_path):
    path = tmp_path / "file.json"
    path.write_text(DEEP_JSON)
    assert "nested too deeply" in one_line(lambda: read(path))


@pytest.mark.parametrize("text", ["{", "1" * 5000, b"\xff", '{"a": }'])
def test_invalid_json_gives_a_one_line_error(text):
    assert "file must be JSON" in one_line(lambda: parse_json(text, "file"))


def test_a_folder_of_parts_with_a_deeply_nested_manifest_gives_a_one_line_error(tmp_path):
    (tmp_path / "manifest.json").write_text(DEEP_JSON)
    assert "nested too deeply" in one_line(lambda: Parts(tmp_path))


@pytest.mark.parametrize("read", [Codes.load, read_toml, read_json, sha256, check_gzip, open_regular, check_regular])
def test_a_named_pipe_is_refused_without_waiting(read, pipe):
    assert "named pipe" in one_line(lambda: read(pipe("codes.toml")))


def test_a_named_pipe_in_place_of_a_part_is_refused_and_a_fault(tmp_path, pipe):
    row = write_part(tmp_path, "x", {"a": np.arange(2)})
    manifest = {"format": 1, "key": "k", "parts": [vars(row)]}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    parts = Parts(tmp_path)
    (tmp_path / "x.h5").unlink()
    pipe("x.h5")

    def read():
        with parts.open("x"):
            pass

    assert "named pipe" in one_line(read)
    assert "named pipe" in one_line(lambda: parts.intact(row))
    (fault,) = parts.verify()
    assert "named pipe" in fault


def test_a_named_pipe_in_place_of_a_model_is_a_fault(tmp_path, pipe):
    pipe("model.safetensors")
    (fault,) = verify_model(tmp_path)
    assert "named pipe" in fault


def test_a_folder_or_device_is_not_a_file(tmp_path):
    assert "got a folder" in one_line(lambda: read_toml(tmp_path))
    assert "got a device" in one_line(lambda: sha256(parsing.Path("/dev/zero")))


def test_a_file_beyond_the_limit_is_refused(tmp_path):
    path = tmp_path / "large"
    path.write_bytes(b"x" * 100)
    assert read_bytes(path, 100) == b"x" * 100
    assert "at most 99 bytes" in one_line(lambda: read_bytes(path, 99))


def test_a_manifest_cannot_name_files_outside_its_folder(tmp_path):
    rows = [{"name": "../elsewhere", "count": 1, "sha256": "", "key": ""}]
    (tmp_path / "manifest.json").write_text(json.dumps({"format": 1, "key": "k", "parts": rows}))
    assert "must be a list of parts" in one_line(lambda: Parts(tmp_path))
