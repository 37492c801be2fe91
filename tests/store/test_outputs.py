"""An output only replaces an earlier output of the same kind."""

import os

import pytest
from typer.testing import CliRunner

from ildfv.cli.app import app
from ildfv.errors import InputError
from ildfv.phantom import write_phantoms
from ildfv.store.outputs import check_folder, check_output, write_output

MARKER, KIND = b"<marker>", "a page"


def test_a_folder_for_output_exists_or_can_be_created(tmp_path):
    for folder in (tmp_path, tmp_path / "new", tmp_path / "new" / "below"):
        check_folder(folder)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["file", "file/below", "broken", "broken/below"])
def test_a_folder_for_output_is_not_a_file_or_below_one(tmp_path, name):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="must be a folder or a new path, got a path that is not a folder"):
        check_folder(tmp_path / name)


@pytest.mark.parametrize(
    "arguments",
    [
        ["phantom", "file", "--patients", "1"],
        ["prepare", "scans", "-w", "file"],
        ["predict", "scans", "-p", "predictor", "--out", "file"],
        ["predict", "scans", "-p", "predictor", "--dicom", "file/below"],
        ["texture", "classify", "images", "--model", "file"],
        ["texture", "encode", "images", "--out", "file"],
    ],
)
def test_commands_refuse_a_file_as_output_folder_before_they_compute(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    for name in ("scans", "images"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(b"not an image")
    (tmp_path / "file").write_text("mine")
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, InputError)
    assert "must be a folder or a new path" in str(result.exception)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_new_file_and_an_earlier_output_are_written(tmp_path):
    for content in (b"<marker> one", b"<marker> two"):
        write_output(tmp_path / "page", content, MARKER, KIND)
        assert (tmp_path / "page").read_bytes() == content


@pytest.mark.parametrize("content", [b"", b"salt = '0123'", b"x" * 5000 + MARKER])
def test_any_other_file_is_kept(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    for write in (check_output, lambda path, *rest: write_output(path, b"<marker> new", *rest)):
        with pytest.raises(InputError, match=r"must be a new file or a page, got another file"):
            write(tmp_path / "file", MARKER, KIND)
    assert (tmp_path / "file").read_bytes() == content


def test_a_folder_a_pipe_and_a_device_are_kept(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, what in ((tmp_path, "a folder"), (tmp_path / "pipe", "a named pipe"), ("/dev/null", "a device")):
        with pytest.raises(InputError, match=f"got {what}"):
            check_output(path, MARKER, KIND)


def test_a_link_is_not_written_through(tmp_path):
    (tmp_path / "target").write_bytes(b"kept")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(InputError, match="got another file"):
        write_output(tmp_path / "link", b"<marker>", MARKER, KIND)
    assert (tmp_path / "target").read_bytes() == b"kept"


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(InputError, match="must exist, got no folder"):
        check_output(tmp_path / "nowhere" / "page", MARKER, KIND)


def test_phantoms_do_not_replace_a_table_of_codes(tmp_path):
    (tmp_path / "codes.toml").write_text("[codes]\n7 = 'healthy'\n")
    with pytest.raises(InputError, match=r"codes.toml must be a new file or the code table of phantoms"):
        write_phantoms(tmp_path, patients=1, seed=0, slices_per_scan=3, workers=1)
    assert "7" in (tmp_path / "codes.toml").read_text()
    result = CliRunner().invoke(app, ["phantom", str(tmp_path), "--patients", "1", "--slices", "3"])
    assert isinstance(result.exception, InputError)
