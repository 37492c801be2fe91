"""A part is complete, hashed and listed, or does not exist."""

import errno
import json
import multiprocessing
import os
import resource
import signal
from pathlib import Path

import h5py
import numpy as np
import pytest

from ildfv.errors import InputError
from ildfv.store.atomic import replacing
from ildfv.store.parts import MANIFEST, Parts, write_part, writing_parts

ARRAYS = {"a": np.arange(600, dtype=np.float32).reshape(100, 6), "b": np.arange(100)}


def fill(folder: Path, names=("x", "y")) -> None:
    with writing_parts(folder, "key") as parts:
        for name in names:
            if name not in parts:
                parts.write(name, ARRAYS, {"patient": "p"}, key=name)


def test_a_written_part_is_read_back(tmp_path):
    fill(tmp_path)
    parts = Parts(tmp_path)
    assert list(parts.rows) == ["x", "y"]
    assert parts.count == 200
    with parts.open("x") as file:
        np.testing.assert_array_equal(file["a"][()], ARRAYS["a"])
        assert file.attrs["patient"] == b"p"
    assert parts.verify() == []


def test_equal_content_gives_equal_bytes_in_any_order(tmp_path):
    fill(tmp_path / "one", ("x", "y"))
    fill(tmp_path / "two", ("y", "x"))
    for name in ("x.h5", "y.h5", MANIFEST):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_arrays_of_different_length_are_refused(tmp_path):
    with pytest.raises(InputError, match="must have equal lengths"):
        write_part(tmp_path, "x", {"a": np.zeros(3), "b": np.zeros(4)})
    assert list(tmp_path.glob("*.h5")) == []


def test_other_settings_are_refused_without_loss(tmp_path):
    fill(tmp_path)
    with pytest.raises(InputError, match="other settings"), writing_parts(tmp_path, "another key"):
        pass
    assert Parts(tmp_path).verify() == []


def test_the_error_of_a_second_writer_names_the_process_with_the_lock(tmp_path):
    with writing_parts(tmp_path, "key"), pytest.raises(InputError, match=f"process {os.getpid()}"):
        fill(tmp_path)


def test_leftovers_of_a_killed_run_are_removed(tmp_path):
    fill(tmp_path, ("x",))
    write_part(tmp_path, "renamed-but-not-listed", ARRAYS)
    (tmp_path / ".writing-123-half.h5").write_bytes(b"half")
    fill(tmp_path, ("x", "y"))
    assert sorted(path.name for path in tmp_path.glob("*.h5")) == ["x.h5", "y.h5"]
    assert not list(tmp_path.glob(".writing-*"))


def test_a_part_replaces_another(tmp_path):
    fill(tmp_path)
    apart = tmp_path / ".writing-apart"
    apart.mkdir()
    with writing_parts(tmp_path, "key") as parts:
        apart.mkdir()  # unlisted files were removed
        row = write_part(apart, "y", {"a": ARRAYS["a"][:7]}, key="new")
        parts.replace(row, apart)
        assert parts.rows["y"] == row
    found = Parts(tmp_path)
    assert found.verify() == []
    assert (found.rows["y"].count, found.rows["y"].key, found.rows["x"].count) == (7, "new", 100)


def test_a_flipped_bit_is_detected_by_verification_and_by_reading(tmp_path):
    fill(tmp_path)
    path = tmp_path / "x.h5"
    data = bytearray(path.read_bytes())
    where = data.find(ARRAYS["a"][50].tobytes())
    assert where > 0
    data[where] ^= 1
    path.write_bytes(data)
    parts = Parts(tmp_path)
    assert len(parts.verify()) == 1
    assert "x.h5" in parts.verify()[0]
    with pytest.raises(InputError, match="must be intact"), parts.open("x") as file:
        file["a"][()]


def test_a_truncated_or_missing_part_is_named(tmp_path):
    fill(tmp_path)
    (tmp_path / "x.h5").write_bytes((tmp_path / "x.h5").read_bytes()[:1000])
    (tmp_path / "y.h5").unlink()
    parts = Parts(tmp_path)
    assert [("x.h5" in line, "y.h5: missing" in line) for line in parts.verify()] == [(True, False), (False, True)]
    with pytest.raises(InputError, match=r"x\.h5 must be a complete part"), parts.open("x"):
        pass


def _write_beyond(folder: str, limit: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        with writing_parts(Path(folder), "key") as parts:
            parts.write("big", {"a": np.ones((1000, 1000))})
    except (InputError, OSError):
        os._exit(3)
    os._exit(0)


@pytest.mark.parametrize("limit", [20_000, 1_000_000, 8_000_000, 8_003_000])  # bytes; the array alone has 8,000,000
def test_a_full_disk_leaves_the_finished_parts(tmp_path, limit):
    fill(tmp_path)
    child = multiprocessing.get_context("spawn").Process(target=_write_beyond, args=(str(tmp_path), limit))
    child.start()
    child.join()
    assert child.exitcode == 3  # the exit code of an error, not of a segmentation fault in HDF5
    fill(tmp_path)
    assert Parts(tmp_path).verify() == []
    assert sorted(Parts(tmp_path).rows) == ["x", "y"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root ignores permissions")
def test_a_read_only_folder_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="must be writable"):
        fill(tmp_path)


def test_the_error_of_a_full_disk_names_the_folder_even_without_a_free_byte(tmp_path, monkeypatch):
    def full(self, *more, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    message = f"{tmp_path} must be writable, got No space left"
    with pytest.raises(InputError, match=message), writing_parts(tmp_path, "key"):
        pass
    monkeypatch.undo()
    with writing_parts(tmp_path, "key"):  # the lock was released
        pass


def test_an_error_names_the_final_file(tmp_path):
    path = tmp_path / "nowhere" / "x.h5"
    with (
        pytest.raises(OSError, match=r"No such file or directory: '[^']*/nowhere/x\.h5'$"),
        replacing(path) as temporary,
    ):
        h5py.File(temporary, "x")  # raises an error with the temporary name


def test_a_part_without_read_permission_is_not_called_damaged(tmp_path, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    fill(tmp_path)
    monkeypatch.setattr(h5py, "File", refused)
    with pytest.raises(InputError, match=r"x\.h5 must be readable"), Parts(tmp_path).open("x"):
        pass


WRONG_ROWS = ({}, 1, {"name": "a", "count": "1", "sha256": ""})


@pytest.mark.parametrize(
    "content", [[], 1, {}, {"format": 1}, *({"format": 1, "key": "", "parts": [row]} for row in WRONG_ROWS)]
)
def test_a_manifest_of_another_shape_is_named(tmp_path, content):
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"manifest\.json must be a list of parts, got "):
        Parts(tmp_path)


@pytest.mark.slow
def test_any_flipped_bit_is_an_error_or_changes_nothing(tmp_path):
    arrays = {"numbers": np.arange(300.0).reshape(30, 10), "labels": np.arange(30)}
    with writing_parts(tmp_path, "key") as parts:
        parts.write("a", arrays, {"patient": "p"})
    path, parts, refused = tmp_path / "a.h5", Parts(tmp_path), 0
    whole = path.read_bytes()
    for place in range(0, len(whole), 5):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        assert len(parts.verify()) == 1
        try:
            with parts.open("a") as file:
                found = {name: file[name][()] for name in arrays}
                found["patient"] = file.attrs["patient"]
        except InputError:
            refused += 1
        else:
            for name, value in {**arrays, "patient": b"p"}.items():
                np.testing.assert_array_equal(found[name], value)
    assert refused > len(whole) / 5 / 4
