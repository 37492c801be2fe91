"""A part that refers to other files, or contains anything but plain arrays, is refused before values are read."""

import json
from pathlib import Path

import fsspec
import h5py
import numpy as np
import pytest

from ildfv.datasets.slice_store import SCHEMA, ScanSlices, Slices, write_scan
from ildfv.errors import InputError
from ildfv.store.atomic import sha256
from ildfv.store.parts import MANIFEST, Parts, writing_parts

NAME = "0123456789abcdef"
M = 3
SECRET = b"a line of a file that is nobody's business\n" * 100


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with one slice part."""
    scan = ScanSlices(
        images=np.zeros((M, 3, 224, 224), np.uint8),
        labels=np.zeros((M, 224, 224), np.uint8),
        counts=np.zeros((M, 4), np.int32),
        lung=np.full(M, 60000, np.int32),
        positions=np.arange(M, dtype=np.float32),
        patient=NAME,
        series=NAME,
        labelled=True,
        pixel_area=0.5,
    )
    with writing_parts(tmp_path / "slices", "key") as parts:
        parts.add(write_scan(parts.folder, scan))
    (tmp_path / "secret").write_bytes(SECRET)
    return tmp_path / "slices"


def external_storage(file: h5py.File, secret: Path) -> None:
    del file["lung"]
    file.create_dataset("lung", (M,), np.int32, external=[(str(secret), 0, 4 * M)])


def virtual_dataset(file: h5py.File, secret: Path) -> None:
    other = secret.with_name("other.h5")
    with h5py.File(other, "w") as source:
        source["lung"] = np.arange(M, dtype=np.int32)
    layout = h5py.VirtualLayout((M,), np.int32)
    layout[:] = h5py.VirtualSource(other, "lung", (M,))
    del file["lung"]
    file.create_virtual_dataset("lung", layout)


def external_link(file: h5py.File, secret: Path) -> None:
    other = secret.with_name("other.h5")
    with h5py.File(other, "w") as source:
        source["lung"] = np.arange(M, dtype=np.int32)
    del file["lung"]
    file["lung"] = h5py.ExternalLink(str(other), "lung")


def soft_link(file: h5py.File, secret: Path) -> None:
    del file["lung"]
    file["lung"] = h5py.SoftLink("/positions")


def filter_outside_hdf5(file: h5py.File, secret: Path) -> None:
    del file["lung"]
    file.create_dataset("lung", data=np.zeros(M, np.int32), chunks=(1,), compression="gzip")


def nested_group(file: h5py.File, secret: Path) -> None:
    file.create_group("more")


def object_references(file: h5py.File, secret: Path) -> None:
    references = np.array([file["counts"].ref] * M, dtype=h5py.ref_dtype)
    del file["lung"]
    file.create_dataset("lung", data=references, dtype=h5py.ref_dtype)


def compound_type(file: h5py.File, secret: Path) -> None:
    del file["lung"]
    file["lung"] = np.zeros(M, np.dtype([("a", "i4"), ("b", "f4")]))


def wrong_shape(file: h5py.File, secret: Path) -> None:
    del file["lung"]
    file["lung"] = np.zeros((M, 7), np.int32)


def wrong_length(file: h5py.File, secret: Path) -> None:
    del file["lung"]
    file["lung"] = np.zeros(M + 1, np.int32)


def single_value(file: h5py.File, secret: Path) -> None:
    del file["lung"]
    file["lung"] = np.int32(7)


def missing_array(file: h5py.File, secret: Path) -> None:
    del file["lung"]


def attribute_of_several_values(file: h5py.File, secret: Path) -> None:
    file.attrs["labelled"] = np.array([True, False])


def attribute_of_any_length(file: h5py.File, secret: Path) -> None:
    file.attrs["patient"] = "patient"


def attribute_that_refers(file: h5py.File, secret: Path) -> None:
    file.attrs["pixel_area"] = file["counts"].ref


def missing_attribute(file: h5py.File, secret: Path) -> None:
    del file.attrs["patient"]


REACHING_OUT = [external_storage, virtual_dataset, external_link, soft_link, filter_outside_hdf5]
ODD = [nested_group, object_references, compound_type, wrong_length, single_value, attribute_of_any_length]
WRONG = [wrong_shape, missing_array, attribute_of_several_values, attribute_that_refers, missing_attribute]


def spoil(folder: Path, change) -> None:
    """Changes the part and updates the manifest to match, as an attacker with write access could."""
    path = folder / f"{NAME}.h5"
    with h5py.File(path, "r+") as file:
        change(file, folder.parent / "secret")
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["parts"][0]["sha256"] = sha256(path)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def refusal(read) -> str:
    with pytest.raises(InputError) as refused:
        read()
    message = str(refused.value)
    assert "\n" not in message
    assert NAME in message
    return message


@pytest.mark.parametrize("change", [*REACHING_OUT, *ODD, *WRONG])
def test_slices_are_refused_in_one_line(folder, change):
    spoil(folder, change)
    refusal(lambda: Slices(folder))


@pytest.mark.parametrize("change", [*REACHING_OUT, *ODD])
def test_a_part_without_a_schema_is_refused_too(folder, change):
    spoil(folder, change)

    def read():
        with Parts(folder).open(NAME) as file:
            file["lung"][()]

    refusal(read)


@pytest.mark.parametrize("change", [*REACHING_OUT, *ODD, *WRONG])
def test_verify_names_the_part(folder, change):
    spoil(folder, change)
    (fault,) = Parts(folder, schema=SCHEMA).verify()
    assert NAME in fault
    assert "\n" not in fault


@pytest.mark.parametrize("change", [external_storage, virtual_dataset, external_link])
def test_remote_parts_read_no_file_of_this_machine(folder, change):
    spoil(folder, change)
    files = fsspec.filesystem("memory")
    files.put(f"{folder}/", "/hardened/slices/", recursive=True)
    try:
        refusal(lambda: Slices("memory://hardened/slices"))
        assert len(Parts("memory://hardened/slices").verify()) == 1
    finally:
        files.rm("/hardened", recursive=True)


def test_a_broken_soft_link_is_refused_as_a_link(folder):
    def change(file, secret):
        file["gone"] = h5py.SoftLink("/nowhere")

    spoil(folder, change)
    assert "soft link" in refusal(lambda: Slices(folder))
