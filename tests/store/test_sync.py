"""After a loss of power, a file has its old or its new content: it is synced before it is renamed, its folder after."""

import os

import numpy as np
import pytest

from ildfv.store.atomic import write_json
from ildfv.store.models import save_model


@pytest.fixture
def steps(monkeypatch):
    """The syncs and renames in their order: ("sync", path) and ("rename", path)."""
    found = []
    rename = os.replace

    def sync(handle):
        found.append(("sync", os.readlink(f"/proc/self/fd/{handle}")))

    def replace(old, new):
        found.append(("rename", str(old), str(new)))
        rename(old, new)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replace)
    return found


def test_a_file_is_synced_before_it_is_renamed_and_its_folder_after(tmp_path, steps):
    write_json(tmp_path / "a.json", {})
    first, (_, temporary, final), last = steps
    assert final == str(tmp_path / "a.json")
    assert first == ("sync", temporary)
    assert last == ("sync", str(tmp_path))


def test_each_file_of_a_model_is_synced(tmp_path, steps):
    save_model(tmp_path / "model", {"a": np.zeros(3)}, {})
    renamed = [one[1] for one in steps if one[0] == "rename"]
    synced = [one[1] for one in steps if one[0] == "sync"]
    assert renamed
    assert set(renamed) <= set(synced)
