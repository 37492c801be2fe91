"""Control characters in file names and tags are escaped in every message, and preserved in JSON values."""

import json
import logging
import os
import pickle
import subprocess
import sys

import pytest
from rich.text import Text
from scan_files import ScanFiles

from ildfv.cli import main
from ildfv.cli.output import PrintableConsole
from ildfv.errors import InputError, MissingPackageError, printable
from ildfv.progress import Lines

HOSTILE = "a\x1b[2J\x1b[31m\nerror: none\r\u202egpj.\u2066\x9b1m\x07"
ESCAPED = r"a\x1b[2J\x1b[31m\nerror: none\r\u202egpj.\u2066\x9b1m\x07"


def test_printable_text_is_unchanged_and_everything_else_is_escaped():
    assert printable("Lunge links, 5 × 5 mm², 肺") == "Lunge links, 5 × 5 mm², 肺"
    assert printable(HOSTILE) == ESCAPED
    assert printable(printable(HOSTILE)) == ESCAPED
    assert printable("\ud800\udce9") == r"\ud800\udce9"


@pytest.mark.parametrize("kind", [InputError, MissingPackageError])
def test_errors_escape_their_messages_also_after_pickling(kind):
    error = kind(f"no scan in {HOSTILE}")
    assert str(error) == str(pickle.loads(pickle.dumps(error))) == f"no scan in {ESCAPED}"


def test_notes_in_logs_are_escaped(caplog):
    caplog.set_level(logging.INFO, logger="ildfv")
    Lines().note(HOSTILE)
    assert [record.getMessage() for record in caplog.records] == [ESCAPED]


def test_the_console_breaks_no_line_of_text(capsys):
    path = "/data/" + "long name  " * 30 + "ct.nii"
    console = PrintableConsole(highlight=False, markup=False, width=40)
    hostile = HOSTILE.replace("\n", "")  # line breaks are layout for a console
    console.print(f"{path}{hostile}", style="bold")
    console.print(Text.assemble(("fault: ", "red"), path))
    printed = capsys.readouterr().out
    assert printed.count(path) == 2
    check_harmless(printed.encode())


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_spaces_in_a_path_stay_in_an_error(options, tmp_path, capfd, monkeypatch):
    missing = tmp_path / "two  spaces and\nlines"
    monkeypatch.setattr(sys, "argv", ["ildfv", "verify", "--workspace", str(missing), *options])
    with pytest.raises(SystemExit):
        main()
    printed = capfd.readouterr()
    assert f"{tmp_path}/two  spaces and\\nlines is not a workspace" in printed.err
    assert ("two  spaces and" in printed.out) == bool(options)


def ildfv(*arguments):
    return subprocess.run([sys.executable, "-m", "ildfv", *map(str, arguments)], capture_output=True, timeout=300)


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """A good scan, and a corrupt file, an ignored file and a series with hostile names."""
    folder = tmp_path_factory.mktemp("hostile")
    ScanFiles.nifti(folder / "scans" / "p1" / "ct.nii", ScanFiles.chest())
    (folder / "scans" / f"{HOSTILE}.nii").write_bytes(b"corrupt")
    (folder / "scans" / f"{HOSTILE}.txt").write_bytes(b"text")
    (folder / "scans" / os.fsdecode(b"caf\xe9.nii")).write_bytes(b"corrupt")
    ScanFiles.series(folder / "scans" / "series", ScanFiles.chest(2), RescaleType="HU\x1b[7m")
    return folder / "scans"


def check_harmless(output: bytes):
    text = output.decode()
    assert all(c.isprintable() or c == "\n" for c in text), [c for c in text if not c.isprintable()]
    assert not any(line.strip().startswith("error: none") for line in text.splitlines())


@pytest.mark.slow
def test_tables_and_errors_of_prepare_contain_no_control_characters(scans, tmp_path):
    ended = ildfv("prepare", scans, "--workspace", tmp_path / "w", "--workers", "1", "-v")
    assert ended.returncode == 0, ended.stderr
    check_harmless(ended.stdout)
    check_harmless(ended.stderr)
    assert b"\\u202e" in ended.stdout
    ended = ildfv("prepare", tmp_path / HOSTILE, "--workspace", tmp_path / "w2")
    assert ended.returncode == 1
    check_harmless(ended.stderr)


@pytest.mark.slow
def test_json_contains_the_exact_names_in_escapes(scans, tmp_path):
    ended = ildfv("prepare", scans, "--workspace", tmp_path / "w", "--workers", "1", "--json")
    check_harmless(ended.stdout)
    sources = {unused["source"] for unused in json.loads(ended.stdout)["quarantined"]}
    assert {str(scans / f"{HOSTILE}.nii"), str(scans / os.fsdecode(b"caf\xe9.nii"))} <= sources
