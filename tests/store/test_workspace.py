"""A workspace is created once and opened later; a damaged one is reported."""

import pytest

from ildfv.errors import InputError
from ildfv.pipeline.location import SETTINGS
from ildfv.pipeline.workspace import Workspace


def test_a_workspace_keeps_its_settings(tmp_path):
    made = Workspace.open_or_create(tmp_path / "w", version="1", seed=3)
    again = Workspace.open_or_create(tmp_path / "w", version="2")
    assert made.settings == again.settings
    assert again.settings.seed == 3
    assert len(again.settings.salt) == 32


def test_two_workspaces_have_two_salts(tmp_path):
    salts = {Workspace.open_or_create(tmp_path / name, version="1").settings.salt for name in "ab"}
    assert len(salts) == 2


def test_other_settings_for_an_existing_workspace_are_refused(tmp_path):
    Workspace.open_or_create(tmp_path, version="1", seed=3)
    with pytest.raises(InputError, match=r"seed must be 3 as in .*, got 4"):
        Workspace.open_or_create(tmp_path, version="1", seed=4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not toml at all", "must be TOML"),
        ('format = 1\nversion = "1"\nsalt = "short"', "salt"),
        ("format = 9", "format"),
    ],
)
def test_a_broken_workspace_is_named(tmp_path, text, message):
    (tmp_path / SETTINGS).write_text(text)
    with pytest.raises(InputError, match=message):
        Workspace.open(tmp_path)


def test_without_a_workspace_the_error_names_the_command_that_creates_one(tmp_path):
    with pytest.raises(InputError, match="ildfv prepare"):
        Workspace.open(tmp_path)


def test_without_slices_the_error_names_the_command_that_prepares_them(tmp_path):
    with pytest.raises(InputError, match="ildfv prepare"):
        Workspace.open_or_create(tmp_path, version="1").slices()


def test_a_planned_workspace_is_on_disk_after_save_unless_another_process_was_first(tmp_path):
    first, second = (Workspace.open_or_plan(tmp_path / "w", version="1", seed=seed) for seed in (3, 4))
    assert not (tmp_path / "w").exists()
    first.save()
    first.save()  # writes nothing
    assert Workspace.open(tmp_path / "w").settings == first.settings
    with pytest.raises(InputError, match="was created by another process: run the command again"):
        second.save()
    assert Workspace.open(tmp_path / "w").settings == first.settings
