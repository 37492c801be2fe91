"""File modes follow the umask, except for files that contain the salt or paths, which are private."""

import json
import os
import stat

import numpy as np
import pytest

from ildfv.pipeline.location import SETTINGS
from ildfv.pipeline.workspace import Workspace
from ildfv.progress import SILENT, EventLog
from ildfv.store.atomic import write_bytes, write_json
from ildfv.store.models import INFO, TENSORS, save_model
from ildfv.store.parts import MANIFEST, writing_parts


@pytest.fixture(params=[0o022, 0o027, 0o077])
def umask(request):
    """The umask of this process; files get the mode 0666 without its bits."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_all_kinds_of_files_follow_the_umask(tmp_path, umask):
    save_model(tmp_path, {"a": np.zeros(3)}, {})
    with writing_parts(tmp_path, "key") as parts:
        parts.write("x", {"a": np.zeros(3)})
    write_bytes(tmp_path / "page.html", b"page")
    for name in (TENSORS, INFO, MANIFEST, "x.h5", "page.html"):
        assert mode(tmp_path / name) == 0o666 & ~umask, name


def test_files_with_salt_or_paths_are_readable_by_their_owner_only(tmp_path, umask):
    Workspace.open_or_create(tmp_path, version="test")
    EventLog(tmp_path / "events.jsonl", SILENT).note("/data/MILLER/ct")
    write_json(tmp_path / "paths.json", ["/data/MILLER/ct"], private=True)
    for name in (SETTINGS, "events.jsonl", "paths.json"):
        assert mode(tmp_path / name) == 0o600 & ~umask, name
    assert json.loads((tmp_path / "paths.json").read_text()) == ["/data/MILLER/ct"]


def test_a_private_file_is_private_while_it_is_written(tmp_path, monkeypatch):
    seen = []
    synced = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (seen.append(os.fstat(handle).st_mode), synced(handle)))
    chmod = os.chmod
    monkeypatch.setattr(os, "chmod", lambda path, to: (seen.append(os.stat(path).st_mode), chmod(path, to)))
    write_bytes(tmp_path / "salt", b"0123", private=True)
    assert {stat.S_IMODE(one) for one in seen if stat.S_ISREG(one)} == {0o600}
