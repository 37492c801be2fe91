"""The command line: help with an example, one clear line for a mistake, JSON for machines."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from ildfv.cli.app import app

NAMES = sorted(command.name or command.callback.__name__ for command in app.registered_commands)


def run(*arguments, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "ildfv", *map(str, arguments)], capture_output=True, text=True, **options
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_help_with_an_example_and_json(name):
    shown = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert shown.exit_code == 0
    assert f"Example: ildfv {name}" in " ".join(shown.output.split())
    assert "--json" in shown.output
    assert "--verbose" in shown.output


def test_all_promised_commands_are_there():
    promised = {
        "phantom",
        "prepare",
        "stats",
        "folds",
        "train",
        "encode",
        "regress",
        "report",
        "demo",
        "doctor",
        "experiment",
        "verify",
    }
    assert promised <= set(NAMES)


@pytest.mark.parametrize("command", ["stats", "folds", "train", "encode", "regress", "report", "verify"])
def test_a_folder_without_workspace_is_one_clear_line(command, tmp_path):
    ended = run(command, "--workspace", tmp_path)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.strip().count("\n") == 0
    assert ended.stderr.startswith("error: ")
    assert "ildfv prepare" in ended.stderr


def test_an_unknown_option_is_no_traceback():
    ended = run("encode", "--no-such-option")
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr


def test_scans_that_do_not_exist_are_named(tmp_path):
    ended = run("prepare", tmp_path / "nowhere", "--workspace", tmp_path / "w")
    assert ended.returncode == 1
    assert "nowhere" in ended.stderr
    assert not (tmp_path / "w" / "workspace.toml").exists()


def test_doctor_speaks_json():
    ended = run("doctor", "--json")
    findings = {f["what"]: f for f in json.loads(ended.stdout)["findings"]}
    assert ended.returncode == 0
    assert findings["C++ kernel"]["state"] == "ok"
    assert all(f["advice"] for f in findings.values() if f["state"] == "broken")


def test_the_version_is_told():
    assert run("--version").stdout.startswith("ildfv ")
