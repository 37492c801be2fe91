"""Commands that messages quote are complete: they name the workspace that the user gave."""

from pathlib import Path

import pytest
from command_line import ildfv as run

from ildfv.cli.app import WITH_WORKSPACE
from ildfv.cli.quoted import CompleteNotes, Quoted
from ildfv.progress import Silent


@pytest.fixture
def quoted():
    found = Quoted()
    found.use(Path("my study"), WITH_WORKSPACE)
    return found


@pytest.mark.parametrize(
    ("text", "completed"),
    [
        ("run `ildfv folds --fresh` again", "run `ildfv folds --fresh -w 'my study'` again"),
        (
            "use `ildfv fit`, or `ildfv encode` with a layer",
            "use `ildfv fit -w 'my study'`, or `ildfv encode -w 'my study'` with a layer",
        ),
        ("run `ildfv stats -w other`", "run `ildfv stats -w other`"),
        ("run `ildfv stats --workspace other`", "run `ildfv stats --workspace other`"),
        ("`ildfv doctor` lists them", "`ildfv doctor` lists them"),
        ("the structure that `ildfv folds` writes", "the structure that `ildfv folds` writes"),
        ("(`ildfv prepare --resample` accepts 10 mm)", "(`ildfv prepare --resample` accepts 10 mm)"),
    ],
)
def test_a_command_to_run_gets_the_workspace(quoted, text, completed):
    assert quoted.complete(text) == completed


@pytest.mark.parametrize("workspace", [None, Path(".")])
def test_the_current_folder_is_the_default_of_every_command(quoted, workspace):
    quoted.use(workspace, WITH_WORKSPACE)
    assert quoted.complete("run `ildfv folds`") == "run `ildfv folds`"


def test_notes_are_completed(quoted):
    notes = []

    class Notes(Silent):
        def note(self, text):
            notes.append(text)

    CompleteNotes(Notes(), quoted).note("Compare with `ildfv fit --recipe few`")
    assert notes == ["Compare with `ildfv fit --recipe few -w 'my study'`"]


def test_errors_of_commands_name_the_workspace(small_workspace, tmp_path):
    root = small_workspace(True, True, True)
    for command, expected in (
        (("train",), f"has no folds.json: run `ildfv folds -w {root}`"),
        (("similar", tmp_path), f"run `ildfv encode --layer conv1 -w {root}`"),
        (("components",), f"run `ildfv encode --layer conv1 -w {root}`"),
        (("stats", "--json"), None),
    ):
        ended = run(*command, "-w", root)
        assert expected is None or expected in ended.stderr, ended.stderr
    ended = run("train", "-w", tmp_path / "no such")
    assert f"run `ildfv prepare SCANS -w '{tmp_path / 'no such'}'`" in ended.stderr
