"""`ildfv --help` at 80 columns: what a new user needs first, and every command once."""

import re

import pytest
from typer.testing import CliRunner

from ildfv.cli.app import PANELS, app

NAMES = sorted(command.callback.__name__ for command in app.registered_commands)


@pytest.fixture(scope="module")
def shown() -> str:
    return CliRunner().invoke(app, ["--help"], env={"COLUMNS": "80", "TERM": "dumb"}).output


def test_help_begins_with_the_steps_of_a_new_user(shown):
    first = [command.__name__ for command in PANELS["First steps"]]
    assert first == ["predict", "demo", "prepare", "fit", "export", "view"]
    listed = re.findall(r"^\W+ ([a-z]+)  +[A-Z]", shown, re.MULTILINE)
    assert listed[: len(first)] == first
    assert sorted(listed) == sorted([*NAMES, "texture"])
    assert shown.index("If you have no scans") < shown.index("First steps")


def test_help_fits_80_columns(shown):
    assert max(map(len, shown.splitlines())) <= 80
