"""Slices are read from any URL that fsspec supports."""

import zipfile

import fsspec
import numpy as np
import pytest

from ildfv.datasets.slice_store import ScanSlices, Slices, write_scan
from ildfv.errors import InputError, OutOfReachError
from ildfv.store.parts import Parts, writing_parts
from ildfv.store.remote import absolute


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    with writing_parts(tmp_path / "slices", "key") as parts:
        for number in range(3):
            scan = ScanSlices(
                images=random.integers(0, 256, (4, 3, 224, 224), dtype=np.uint8),
                labels=random.integers(0, 5, (4, 224, 224), dtype=np.uint8),
                counts=random.integers(0, 9000, (4, 4)),
                lung=np.full(4, 60000),
                positions=np.arange(4, dtype=np.float32),
                patient=f"patient{number}",
                series=f"series{number}",
                labelled=True,
                pixel_area=0.5,
            )
            parts.add(write_scan(parts.folder, scan))
    return tmp_path / "slices"


@pytest.fixture
def url(folder):
    """The same folder in fsspec's memory file system."""
    files = fsspec.filesystem("memory")
    files.put(f"{folder}/", "/bucket/slices/", recursive=True)
    yield "memory://bucket/slices"
    files.rm("/bucket", recursive=True)


def assert_same(one: Slices, two: Slices) -> None:
    assert one.key == two.key
    for name in ("counts", "lung", "positions", "patients", "series", "labelled", "pixel_area"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    for indices in (range(12), [11, 0, 4, 4, 3]):
        np.testing.assert_array_equal(one.images(indices), two.images(indices))
        np.testing.assert_array_equal(one.label_maps(indices), two.label_maps(indices))


def test_a_url_gives_the_slices_of_the_folder(folder, url):
    assert_same(Slices(url), Slices(folder))
    assert_same(Slices(f"file://{folder}"), Slices(folder))


def test_chains_of_fsspec_work(folder, url, tmp_path, monkeypatch):
    monkeypatch.setitem(fsspec.config.conf, "simplecache", {"cache_storage": str(tmp_path / "cache")})
    assert_same(Slices(f"simplecache::{url}"), Slices(folder))
    assert len(list((tmp_path / "cache").iterdir())) >= 3


def test_local_paths_are_stored_as_absolute_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute("slices") == f"{tmp_path}/slices"
    assert absolute("/a/../b") == "/b"
    assert absolute("zip://slices::set.zip") == f"zip://slices::{tmp_path}/set.zip"
    for url in ("s3://bucket/slices", "simplecache::s3://bucket/slices", f"zip://slices::file://{tmp_path}/set.zip"):
        assert absolute(url) == url


def test_a_damaged_remote_part_is_named(url):
    files = fsspec.filesystem("memory")
    data = bytearray(files.cat("/bucket/slices/series1.h5"))
    data[len(data) // 2] ^= 1
    files.pipe("/bucket/slices/series1.h5", bytes(data))
    assert ["series1.h5" in fault for fault in Parts(url).verify()] == [True]
    with pytest.raises(InputError, match=r"memory://bucket/slices/series1\.h5 must be intact"):
        Slices(url).images(range(12))


def test_a_missing_folder_and_an_unknown_protocol_are_named():
    with pytest.raises(InputError, match="memory://nowhere has no finished parts"):
        Slices("memory://nowhere")
    with pytest.raises(InputError, match="nosuch://x must be a URL that fsspec can read"):
        Slices("nosuch://x")


def test_a_store_that_does_not_respond_is_not_a_missing_file(url, monkeypatch):
    """Like fsspec's HTTP file system, which raises FileNotFoundError also if the server is down."""
    from fsspec.implementations.memory import MemoryFileSystem

    def down(self, path, *more, **options):
        raise FileNotFoundError(path) from ConnectionError("connection refused")

    with monkeypatch.context() as patched:
        for name in ("cat_file", "info", "open"):
            patched.setattr(MemoryFileSystem, name, down)
        with pytest.raises(OutOfReachError, match=r"manifest\.json must be reachable, got ConnectionError: .* refused"):
            Slices(url)
    parts = Parts(url)
    for name in ("info", "open"):
        monkeypatch.setattr(MemoryFileSystem, name, down)
    with pytest.raises(OutOfReachError, match=r"series[0-9]\.h5 must be reachable"):
        parts.verify()


def test_a_broken_archive_is_named(tmp_path):
    (tmp_path / "bad.zip").write_bytes(b"PK no archive")
    with pytest.raises(InputError, match="must be a URL that fsspec can read: BadZipFile"):
        Slices(f"zip://::{tmp_path / 'bad.zip'}")


def test_a_store_that_fails_while_reading_is_reported_as_unreachable(url, monkeypatch):
    def gone(*_):
        raise RuntimeError("gone")

    slices = Slices(url)
    monkeypatch.setattr("fsspec.implementations.memory.MemoryFile.read", gone)
    with pytest.raises(OutOfReachError, match=r"series[0-9]\.h5 must be reachable, got RuntimeError: gone"):
        slices.images([0])


@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_part_in_an_archive_is_named(folder, tmp_path, kind):
    archive = tmp_path / "slices.zip"
    with zipfile.ZipFile(archive, "w", kind) as file:
        for path in sorted(folder.iterdir()):
            if not path.name.startswith("."):
                file.write(path, path.name)
        place = file.getinfo("series1.h5").header_offset + 4000
    data = bytearray(archive.read_bytes())
    data[place] ^= 1
    archive.write_bytes(data)
    url = f"zip://::{archive}"
    with pytest.raises(InputError, match=r"series1\.h5 must be intact, got "):
        Slices(url).images(range(12))
    (fault,) = Parts(url).verify()
    assert "series1.h5 must be intact, got BadZipFile" in fault
