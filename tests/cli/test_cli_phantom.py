"""ildfv phantom --difficulty: the phantoms that are written, and the error for an unknown value."""

import json

import pydicom
from typer.testing import CliRunner

from ildfv.cli.app import app


def test_difficulty_hard_writes_hard_phantoms(tmp_path):
    line = ["phantom", str(tmp_path / "scans"), "--patients", "1", "--slices", "3", "--difficulty", "hard", "--json"]
    line += ["--workers", "1"]
    shown = CliRunner().invoke(app, line)
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout)["difficulty"] == "hard"
    file = next((tmp_path / "scans").rglob("*.dcm"))
    assert pydicom.dcmread(file).PatientID.startswith("PHANTOM-HARD-")


def test_an_unknown_difficulty_gives_a_one_line_error(tmp_path):
    shown = CliRunner().invoke(app, ["phantom", str(tmp_path / "scans"), "--difficulty", "severe"])
    assert shown.exit_code != 0
    assert "difficulty must be easy or hard, got 'severe'" in f"{shown.output}{shown.exception}"
