"""A folder is used for the settings in its fingerprint only; a killed cleanup leaves nothing that looks finished."""

import shutil

import pytest

from ildfv.errors import InputError
from ildfv.store.atomic import read_json, sweep, write_json
from ildfv.store.fingerprint import FINGERPRINT, match_fingerprint


class Killed(BaseException):
    pass


def test_a_killed_fresh_run_leaves_nothing_that_looks_finished(tmp_path, monkeypatch):
    match_fingerprint(tmp_path, {"k": 4})
    write_json(tmp_path / "encoding.json", {})
    for name in ("mixture", "pca"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"weights")
    removed = []

    def killed(folder):
        if removed:
            raise Killed
        removed.append(folder)
        real(folder)

    real = shutil.rmtree
    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(Killed):
        match_fingerprint(tmp_path, {"k": 5}, fresh=True)
    monkeypatch.undo()
    assert not (tmp_path / "encoding.json").exists()
    with pytest.raises(InputError, match="k = 4, now 5"):  # the fingerprint is kept
        match_fingerprint(tmp_path, {"k": 5})
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [FINGERPRINT]
    match_fingerprint(tmp_path, {"k": 5}, fresh=True)
    assert read_json(tmp_path / FINGERPRINT) == {"k": 5}


def test_measured_values_are_those_of_the_first_run(tmp_path):
    assert match_fingerprint(tmp_path, {"k": 4}, measured={"batch": 64}) == {"batch": 64}
    assert match_fingerprint(tmp_path, {"k": 4}, measured={"batch": 48}) == {"batch": 64}
    with pytest.raises(InputError, match="k = 4, now 5"):
        match_fingerprint(tmp_path, {"k": 5}, measured={"batch": 48})
    assert match_fingerprint(tmp_path, {"k": 5}, measured={"batch": 48}, fresh=True) == {"batch": 48}
