"""Zip archives: files are unpacked unchanged, and no archive can write to other folders or fill the disk."""

import os
import stat
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from ildfv.errors import InputError
from ildfv.scans import archives
from ildfv.scans.archives import extracted, is_archive


def write(path: Path, files: dict, **options) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as raised, extracted(path):
        pass
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_files_are_unpacked_unchanged_and_removed_afterwards(tmp_path):
    files = {"p1/IM1.dcm": b"one", "p1/é.dcm": b"two", "./p2/a": b"3", "top": b""}
    path = write(tmp_path / "scans.zip", files, compression=zipfile.ZIP_DEFLATED)
    with extracted(path) as folder:
        assert contents(folder) == {name.removeprefix("./"): content for name, content in files.items()}
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not folder.exists()


def test_unpacked_files_have_the_time_of_the_archive(tmp_path):
    path = write(tmp_path / "scans.zip", {"a": b"1"})
    os.utime(path, ns=(1, 10**18))
    with extracted(path) as folder:
        assert (folder / "a").stat().st_mtime_ns == 10**18


@pytest.mark.parametrize("name", ["../a", "p/../../a", "/etc/a", "C:\\a", "..\\a", "C:a"])
def test_paths_that_leave_the_folder_are_refused(tmp_path, name):
    entry = zipfile.ZipInfo("x")
    entry.filename = entry.orig_filename = name
    path = write(tmp_path / "scans.zip", {"fine": b"1"})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(entry, b"2")
    assert "paths must stay inside" in refusal(path)
    assert not (tmp_path / "a").exists()


def test_backslashes_separate_folders_as_on_windows(tmp_path):
    with extracted(write(tmp_path / "scans.zip", {"p1\\IM1.dcm": b"1"})) as folder:
        assert contents(folder) == {"p1/IM1.dcm": b"1"}


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFBLK])
def test_links_and_devices_are_refused(tmp_path, kind):
    entry = zipfile.ZipInfo("p1/link")
    entry.external_attr = (kind | 0o777) << 16
    path = tmp_path / "scans.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    assert "link or device (entry 1)" in refusal(path)


def test_an_archive_that_unpacks_to_much_more_than_its_size_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "SMALL", 1000)
    path = write(tmp_path / "bomb.zip", {"zeros": bytes(1_000_000)}, compression=zipfile.ZIP_DEFLATED)
    assert "100 times its size" in refusal(path)


def test_an_archive_that_is_larger_than_the_limit_or_the_disk_is_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "large.zip", {"a": bytes(2000)})
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 1999}))
    assert "TMPDIR" in refusal(path)
    monkeypatch.setattr(archives, "MAX_BYTES", 1999)
    assert "at most 1,999 bytes" in refusal(path)


def test_an_archive_of_too_many_files_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_FILES", 2)
    assert "at most 2 files, got 3" in refusal(write(tmp_path / "many.zip", dict.fromkeys("abc", b"")))


def test_files_that_share_their_data_are_refused(tmp_path):
    path = write(tmp_path / "bomb.zip", {"a": bytes(5000), "b": bytes(5000)})
    with zipfile.ZipFile(path) as archive:
        second = archive.infolist()[1].header_offset
    raw = bytearray(path.read_bytes())
    raw[:] = raw[:second] + raw[raw.index(b"PK\x01\x02") :]  # removes the data of b; the directory still lists b
    directory = raw.index(b"PK\x01\x02")
    raw[-6:-2] = directory.to_bytes(4, "little")
    entry = raw.index(b"PK\x01\x02", directory + 1)
    raw[entry + 42 : entry + 46] = (0).to_bytes(4, "little")
    path.write_bytes(raw)
    assert "overlap" in refusal(path)


@pytest.mark.parametrize("names", [("a", "a"), ("a", "a/b"), ("a/b", "a")])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicate_paths_in_an_archive_are_refused(tmp_path, names):
    path = tmp_path / "scans.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, name)
    assert "each path once, got two entries with one path" in refusal(path)


def test_an_encrypted_archive_is_refused(tmp_path):
    path = write(tmp_path / "secret.zip", {"a": b"1"})
    raw = bytearray(path.read_bytes())
    for magic, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        raw[raw.index(magic) + at] |= 1
    path.write_bytes(raw)
    assert "must not be encrypted" in refusal(path)


def test_an_unknown_method_of_compression_is_refused(tmp_path):
    path = write(tmp_path / "scans.zip", {"a": b"1"})
    raw = bytearray(path.read_bytes())
    for magic, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        raw[raw.index(magic) + at] = 9  # deflate64
    path.write_bytes(raw)
    assert "got method 9" in refusal(path)


def test_a_damaged_archive_gives_a_one_line_error_or_all_files_unchanged(tmp_path):
    files = {"p1/IM1.dcm": os.urandom(200), "p1/IM2.dcm": bytes(300)}
    whole = write(tmp_path / "scans.zip", files, compression=zipfile.ZIP_DEFLATED).read_bytes()
    path = tmp_path / "damaged.zip"
    for at in range(0, len(whole), 5):
        for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :]):
            path.write_bytes(damaged)
            with suppress(InputError), extracted(path) as folder:
                found = contents(folder)
                assert sorted(found.values()) == sorted(files.values()) or len(found) < 2


def test_an_archive_is_recognised_by_its_name_and_first_bytes(tmp_path):
    assert is_archive(write(tmp_path / "A.ZIP", {"a": b""}))
    assert is_archive(write(tmp_path / "empty.zip", {}))
    assert not is_archive(write(tmp_path / "notes.docx", {"a": b""}))
    (tmp_path / "text.zip").write_text("no archive")
    assert not is_archive(tmp_path / "text.zip")
