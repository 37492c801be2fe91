"""Names and tags from files cannot move the cursor, colour the terminal or reorder a line."""

import json
import logging
import os
import subprocess
import sys

import pytest
from rich.text import Text

from ildfv.cli.output import Terminal, cell
from ildfv.errors import InputError, check
from ildfv.progress import Lines
from ildfv.visible import visible, visible_json

EVIL = "a\x1b[31mred\x07\u202egnp.\u2066x\u2069\x9b2J\r\nb\x7f\u2028"
HIDDEN = set("\x1b\x07\u202e\u2066\u2069\x9b\r\x7f\u2028\u200f")


@pytest.mark.parametrize("text", ["conv1", "κόσμος", "患者 001", "Müller", "two  spaces", ""])
def test_text_of_any_script_stays(text):
    assert visible(text) == text


def test_what_is_not_seen_is_shown_as_an_escape():
    assert visible(EVIL) == r"a\x1b[31mred\x07\u202egnp.\u2066x\u2069\x9b2J\r\nb\x7f\u2028"
    assert visible("a\nb\x1b", keep="\n") == "a\nb\\x1b"


def test_json_parses_to_the_same_values():
    text = json.dumps({"name": EVIL, "tag": "\U000e0041 ok é"}, ensure_ascii=False, indent=1)
    assert json.loads(visible_json(text)) == json.loads(text)
    assert not HIDDEN & set(visible_json(text))


def test_every_input_error_is_one_visible_line():
    with pytest.raises(InputError) as refused:
        check(False, f"{EVIL} must be a scan")
    assert not HIDDEN & set(str(refused.value))
    assert "\n" not in str(refused.value)
    assert str(InputError()) == ""


def test_what_the_terminal_prints_is_visible_and_not_broken(capsys):
    path = "/data/" + "long name " * 30
    terminal = Terminal(highlight=False, markup=False, width=40)
    terminal.print(f"{path}{EVIL}", style="bold")
    terminal.print(Text.assemble(("fault: ", "red"), path + "\x1b"))
    printed = capsys.readouterr().out
    assert not HIDDEN & set(printed)
    assert printed.count(path) == 2
    assert not HIDDEN & set(cell(EVIL))


def test_log_lines_are_visible(caplog):
    with caplog.at_level(logging.INFO, logger="ildfv"):
        Lines().note(EVIL)
    assert not HIDDEN & set(caplog.messages[0])


@pytest.mark.parametrize("options", [[], ["--json"], ["-v"]])
def test_names_of_scans_are_visible_in_what_prepare_says(tmp_path, options):
    name = "a\x1b[31mred\u202egnp\x9b2J.nii"
    scans = tmp_path / "a long name of a folder with many words in it  and two spaces" / "scans"
    scans.mkdir(parents=True)
    (scans / name).write_bytes(b"no NIfTI")
    (scans / "x\u200fy").write_bytes(b"nothing")
    command = [sys.executable, "-m", "ildfv", "prepare", scans, "-w", tmp_path / "w", *options]
    ended = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"COLUMNS": "60"})
    assert ended.returncode == 1
    assert not HIDDEN & set(ended.stdout + ended.stderr)
    assert f"{scans}/a\\" in ended.stdout  # on one line
    if options == ["--json"]:
        assert json.loads(ended.stdout)["quarantined"][0]["source"] == str(scans / name)
