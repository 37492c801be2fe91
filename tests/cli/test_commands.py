"""The command line: help with an example, one line for an error, JSON output."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import ildfv as run
from typer.testing import CliRunner

from ildfv import doctor
from ildfv.cli import main
from ildfv.cli.app import app
from ildfv.scans import pixels

NAMES = sorted(command.name or command.callback.__name__ for command in app.registered_commands)


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_help_with_an_example_and_json(name):
    shown = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert shown.exit_code == 0
    assert f"Example: ildfv {name}" in " ".join(shown.output.split())
    assert "--json" in shown.output
    assert "--verbose" in shown.output


def test_all_documented_commands_exist():
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
def test_a_folder_without_workspace_gives_a_one_line_error(command, tmp_path):
    ended = run(command, "--workspace", tmp_path)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.strip().count("\n") == 0
    assert ended.stderr.startswith("error: ")
    assert "ildfv prepare" in ended.stderr


def test_an_invalid_option_value_is_named():
    ended = run("train", "--epochs", "0")
    assert ended.returncode == 2
    assert "--epochs" in ended.stderr
    assert ", got 0" in ended.stderr


def test_scans_that_do_not_exist_are_named(tmp_path):
    ended = run("prepare", tmp_path / "nowhere", "--workspace", tmp_path / "w")
    assert ended.returncode == 1
    assert "nowhere" in ended.stderr
    assert not (tmp_path / "w" / "workspace.toml").exists()


def test_doctor_prints_json():
    ended = run("doctor", "--json")
    findings = {f["what"]: f for f in json.loads(ended.stdout)["findings"]}
    assert ended.returncode == 0
    assert findings["C++ kernel"]["state"] == "ok"
    assert all(f["advice"] for f in findings.values() if f["state"] == "broken")


def test_the_module_can_be_run():
    line = [sys.executable, "-m", "ildfv", "--version"]
    assert subprocess.run(line, capture_output=True, text=True).stdout.startswith("ildfv ")


@pytest.mark.parametrize("command", ["stats", "folds"])
def test_without_label_maps_the_error_names_the_command_that_reads_them(command, small_workspace):
    ended = run(command, "--workspace", small_workspace(False, False, False))
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.startswith("error: no slice has a label map: run `ildfv prepare SCANS --codes")
    assert ended.stderr.strip().count("\n") == 0


def test_the_error_for_three_patients_names_the_number_of_folds_that_works(small_workspace):
    root = small_workspace(True, True, True)
    remedy = f"run `ildfv folds --folds 3 -w {root}`"
    ended = run("folds", "--workspace", root)
    assert (ended.returncode, ended.stderr.count(remedy)) == (1, 1)
    ended = run("folds", "--folds", 2, "--workspace", root)
    assert (ended.returncode, ended.stderr.count(remedy)) == (1, 1)
    assert run("folds", "--folds", 3, "--workspace", root).returncode == 0


def test_stats_state_what_a_patient_without_patterns_is(small_workspace):
    ended = run("stats", "--workspace", small_workspace(True, True, False))
    assert "none (patients: no pattern on any slice)" in ended.stdout
    assert "1 slice without" in ended.stdout


def test_report_prints_its_notes(small_workspace):
    ended = run("report", "--workspace", small_workspace(True, True, True))
    assert ended.returncode == 0
    assert "note: No system has been scored yet" in ended.stdout


def test_a_usage_error_is_printed_in_one_line():
    ended = run("encode", "--no-such-option")
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: No such option: --no-such-option")
    assert ended.stderr.strip().count("\n") == 0


def test_an_error_is_json_with_json_output(tmp_path):
    ended = run("stats", "--workspace", tmp_path, "--json")
    assert ended.returncode == 1
    assert "ildfv prepare" in json.loads(ended.stdout)["error"]


def test_an_interrupted_command_says_how_to_resume(monkeypatch, capsys, tmp_path):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("ildfv.phantom.write_phantoms", stopped)
    monkeypatch.setattr(sys, "argv", ["ildfv", "phantom", str(tmp_path / "scans")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "error: interrupted: run the same command again to resume\n"


def test_a_failed_command_writes_its_error_to_the_event_log(small_workspace, tmp_path):
    root = small_workspace(True)
    ended = run("encode", "--workspace", root)
    assert ended.returncode == 1
    last = json.loads((root / "events.jsonl").read_text().splitlines()[-1])
    assert last["event"] == "error"
    assert "error: " + last["text"] == " ".join(ended.stderr.split())
    assert run("encode", "--workspace", tmp_path).returncode == 1
    assert not (tmp_path / "events.jsonl").exists()  # without a workspace there is no log


def test_prepare_without_usable_scans_prints_one_json_document(tmp_path):
    (tmp_path / "scans" / "a[").mkdir(parents=True)
    (tmp_path / "scans" / "a[" / "1].nii.gz").write_bytes(b"no NIfTI")
    ended = run("prepare", tmp_path / "scans", "-w", tmp_path / "w", "--json")
    assert ended.returncode == 1
    assert json.loads(ended.stdout)["quarantined"]
    shown = run("prepare", tmp_path / "scans", "-w", tmp_path / "w")
    assert "a[/1].nii.gz" in shown.stdout.replace("\n", "")  # no markup
    assert "Traceback" not in shown.stderr


@pytest.mark.parametrize("command", [("phantom", "x"), ("prepare", "x"), ("folds",), ("encode",), ("demo", "x")])
def test_a_seed_that_numpy_would_refuse_is_refused(command, tmp_path):
    ended = run(*command, "--seed", 2**32, cwd=tmp_path)
    assert ended.returncode == 2
    assert "seed" in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_doctor_and_prepare_report_the_same_decoders(monkeypatch):
    monkeypatch.setattr(pixels, "can_decode", lambda syntax: "90" not in syntax)
    found = {f["what"]: f for f in doctor.examine()}
    assert found["DICOM JPEG 2000 Lossless"]["state"] == "absent"
    assert found["DICOM JPEG 2000 Lossless"]["advice"] == "pip install pylibjpeg-openjpeg"
    assert found["DICOM RLE Lossless"]["state"] == "ok"


def test_hand_edited_folds_are_kept_without_fresh(small_workspace):
    root = small_workspace(True, True, True, True)
    make = ("folds", "--folds", 4, "--workspace", root)
    assert run(*make).returncode == 0
    assert run(*make).returncode == 0  # an existing file with equal folds is accepted
    file = root / "folds.json"
    own = json.loads(file.read_text())
    own["folds"].reverse()
    file.write_text(json.dumps(own))
    ended = run(*make)
    assert (ended.returncode, json.loads(file.read_text())) == (1, own)
    assert "folds.json contains other folds: validate them with --check, or replace them with --fresh" in ended.stderr
    assert run("folds", "--check", "--workspace", root).returncode == 0
    assert run(*make, "--fresh").returncode == 0
    assert json.loads(file.read_text()) != own


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"train", "encode", "regress"}))
def test_a_command_that_cannot_be_distributed_is_refused_on_every_rank(name, tmp_path):
    ended = run(name, cwd=tmp_path, env={"WORLD_SIZE": "2", "RANK": "1"})
    assert ended.returncode == 1
    assert ended.stderr == (
        f"error: rank 1: {name} must run in one process, got 2 ranks: "
        "start it without torchrun (only train, encode, regress can be distributed)\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("start", "documents"), [(0, 0), (2, 0), (3, 1)])
def test_an_error_is_one_document_for_any_number_of_torchrun_restarts(start, documents, tmp_path):
    counts = {"TORCHELASTIC_RESTART_COUNT": str(start), "TORCHELASTIC_MAX_RESTARTS": "3"}
    ended = run("encode", "--json", cwd=tmp_path, env=counts)
    assert ended.returncode == 1
    assert ended.stdout.count("error") == documents


def test_folders_that_are_links_are_searched(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "farm").mkdir()
    (tmp_path / "farm/p1").symlink_to(tmp_path / "real")
    ended = run("prepare", tmp_path / "farm", "--workspace", tmp_path / "w")
    assert ended.returncode == 1
    assert "must contain at least one file, got an empty folder" in ended.stderr


def test_verify_reports_folds_that_do_not_match_the_slices(small_workspace):
    root = small_workspace(True, True, True, True)
    assert run("folds", "--folds", "3", "--workspace", root).returncode == 0
    assert run("verify", "--workspace", root).returncode == 0
    folds = root / "folds.json"
    folds.write_text(folds.read_text().replace("0000000000000002", "0000000000000009"))
    ended = run("verify", "--workspace", root)
    assert ended.returncode == 1
    assert "every patient must be in folds.json" in ended.stdout + ended.stderr


def test_file_names_need_not_be_utf_8(tmp_path):
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    odd.mkdir()
    (odd / "scan.nii").write_bytes(b"no NIfTI")
    ended = run("prepare", odd, "-w", odd / "w", "--json")
    (left,) = json.loads(ended.stdout)["quarantined"]
    assert left["source"] == str(odd / "scan.nii")
    assert json.loads((odd / "w/prepare.json").read_text())["quarantined"] == [left]
    ended = run("prepare", odd, "-w", odd / "w")
    assert "Traceback" not in ended.stderr
    assert "caf\\udce9" in ended.stdout.replace("\n", "")
