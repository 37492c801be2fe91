"""Bulk arrays as a folder of HDF5 parts and a manifest: a part is there whole, hashed and listed, or not at all.

The manifest is `manifest.json`: {"format": 1, "key": …, "parts": [{"name", "count", "sha256", "key"}, …]}, parts sorted
by name; an empty one is written before any part. The folder's key says what settings and inputs all parts were made
with, a part's own key what it alone was made from; both let a second run tell finished work from stale work.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

import h5py
import numpy as np

from ildfv.errors import InputError, OutOfReachError, check
from ildfv.store.atomic import MEND, check_space, read_json, replacing, sha256, sweep, sync, write_json
from ildfv.store.hdf5 import Schema, open_hdf5
from ildfv.store.lock import writing
from ildfv.store.remote import place

MANIFEST = "manifest.json"
FORMAT = 1
OVERHEAD = 64 << 10  # bytes of a part beside its arrays: HDF5 ends in SIGSEGV where it may not write them
DAMAGE = (OSError, KeyError, RuntimeError)  # what h5py raises where bytes are not those that were written
FLUSH_SECONDS = 2.0  # a manifest written for every part would cost quadratic time on 10,000 parts


@dataclass(frozen=True)
class Row:
    """One part in the manifest: name, number of items, hash of its file, key of what it was made from."""

    name: str
    count: int
    sha256: str
    key: str = ""

    def __post_init__(self):
        texts = all(isinstance(text, str) for text in (self.name, self.sha256, self.key))
        if not (texts and isinstance(self.count, int)):
            raise TypeError(f"a part has texts and a count, not {astuple(self)}")
        if Path(self.name).name != self.name:  # a manifest must not point outside its folder
            raise TypeError(f"a part's name must be that of one file, not {self.name!r}")


def write_part(
    folder: Path, name: str, arrays: dict[str, np.ndarray], attributes: dict | None = None, *, key: str = ""
) -> Row:
    """The manifest row of the finished file `folder/name.h5`; safe to call in any process, for names of its own.

    arrays: all with the same first dimension, the number of items. Texts among the attributes are read as bytes. Equal
    content gives equal bytes, and a bit that flips is found by whoever reads what it belongs to.
    """
    folder = Path(folder)
    counts = {len(array) for array in arrays.values()}
    if len(counts) != 1:
        raise InputError(f"arrays of part {name} must have one length, got {sorted(counts)}")
    check_space(folder, int(1.05 * sum(array.nbytes for array in arrays.values())) + OVERHEAD)
    path = folder / f"{name}.h5"
    with replacing(path) as temporary, h5py.File(temporary, "x", libver=("v110", "v110")) as file:
        for key_, value in sorted((attributes or {}).items()):
            # Texts as bytes of fixed length: those of any length lie where HDF5 has no checksum.
            file.attrs[key_] = np.array(value.encode() or b"\0") if isinstance(value, str) else value
        for array_name, array in sorted(arrays.items()):
            # One item a chunk where items are large: slices are read in any order.
            rows = max(1, min(len(array), (256 << 10) // max(1, array[:1].nbytes)))
            chunks = (rows, *array.shape[1:]) if array.size else None
            file.create_dataset(array_name, data=array, chunks=chunks, fletcher32=bool(array.size))
    return Row(name, counts.pop(), sha256(path), key)


class Parts:
    """A folder of parts, here or elsewhere, for reading. `writing_parts` gives the same with `add`.

    schema: what every part must hold; None: any plain arrays.
    """

    schema: Schema | None = None

    def __init__(self, folder: Path | str, *, schema: Schema | None = None):
        self.folder, self.schema = place(folder), schema
        manifest = self.folder / MANIFEST
        try:
            content = read_json(manifest)
        except FileNotFoundError as error:
            raise InputError(f"{self.folder} holds no finished parts: {MANIFEST} is missing") from error
        try:
            format, self.key = content["format"], str(content["key"])
            self.rows: dict[str, Row] = {row["name"]: Row(**row) for row in content["parts"]}
        except (KeyError, TypeError) as error:  # JSON of another shape
            raise InputError(f"{manifest} must be a list of parts, got {error!r}") from error
        check(format == FORMAT, f"{manifest} must have format {FORMAT}, got {format!r}")

    def __contains__(self, name: str) -> bool:
        return name in self.rows

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def count(self) -> int:
        """The number of items in all parts."""
        return sum(row.count for row in self.rows.values())

    def path(self, name: str) -> Path:
        """Where the part's file lies, or would."""
        return self.folder / f"{name}.h5"

    def file(self, name: str) -> h5py.File:
        """The part's file, open for reading; whoever asked closes it."""
        path = self.path(name)
        try:
            file = path if isinstance(path, Path) else path.open()
            row = self.rows.get(name)
            return open_hdf5(file, path, schema=self.schema, count=None if row is None else row.count)
        except PermissionError as error:
            raise InputError(f"{path} must be readable: permission denied") from error
        except DAMAGE as error:
            raise InputError(f"{path} must be a finished part, got a file cut short or damaged: {MEND}") from error

    @contextmanager
    def open(self, name: str) -> Iterator[h5py.File]:
        """The part, opened for reading; a missing or damaged file is named."""
        try:
            with self.file(name) as file:
                yield file
        except DAMAGE as error:  # a checksum found a flipped bit, or the disk failed
            raise InputError(f"{self.path(name)} must be intact, got other bytes than were written: {MEND}") from error

    def intact(self, row: Row) -> bool:
        """Whether the part's file is there and the one that was written."""
        path = self.path(row.name)
        return path.exists() and sha256(path) == row.sha256

    def verify(self) -> list[str]:
        """One line for each part that is missing or not the file its row describes; empty when all is well."""
        faults = []
        for name, row in self.rows.items():
            path = self.path(name)
            try:
                if not path.exists():
                    faults.append(f"{path}: missing")
                elif (found := sha256(path)) != row.sha256:
                    faults.append(f"{path}: SHA-256 must be {row.sha256[:12]}…, got {found[:12]}…")
                else:
                    self.file(name).close()  # opening checks what it holds, and how many items
            except OutOfReachError:
                raise
            except (InputError, OSError) as error:  # an archive's own checksum; a file that may not be read
                faults.append(str(error))
        return faults


class WritableParts(Parts):
    """A folder of parts under this process's lock."""

    def __init__(self, folder: Path, key: str):
        self.folder, self.key, self.rows, self._written = Path(folder), key, {}, time.monotonic()
        if (self.folder / MANIFEST).exists():
            super().__init__(folder)
            if self.key != key:
                raise InputError(
                    f"{self.folder} was made with other settings or inputs (key {self.key}, now {key}): "
                    "use another workspace, or remove that folder to make it anew"
                )
        sweep(self.folder)
        if not (self.folder / MANIFEST).exists():
            found = sum(1 for _ in self.folder.glob("*.h5"))  # a killed run has left a manifest, if an empty one
            lost = f"{self.folder} holds {found} parts that no {MANIFEST} lists: restore it, or remove the folder"
            check(found == 0, lost)
            self.flush()
        for orphan in self.folder.glob("*.h5"):  # renamed, but killed before its row was written
            if orphan.stem not in self.rows:
                orphan.unlink()

    def add(self, *rows: Row) -> None:
        """Lists finished parts. They are on disk in the manifest within seconds, and for certain after `flush`."""
        self.rows |= {row.name: row for row in rows}
        if time.monotonic() - self._written > FLUSH_SECONDS:
            self.flush()

    def drop(self, *names: str) -> None:
        """The manifest without these parts; their files go after it."""
        for name in names:
            self.rows.pop(name, None)
        self.flush()
        for name in names:
            self.path(name).unlink(missing_ok=True)

    def replace(self, row: Row, folder: Path) -> None:
        """The finished part in `folder` instead of the one of its name here; killed between, neither is listed."""
        self.drop(row.name)
        os.replace(folder / f"{row.name}.h5", self.path(row.name))
        sync(self.folder)
        self.add(row)

    def write(self, name: str, arrays: dict[str, np.ndarray], attributes: dict | None = None, *, key: str = "") -> None:
        """A part written and in the manifest."""
        self.add(write_part(self.folder, name, arrays, attributes, key=key))

    def flush(self) -> None:
        """Puts the manifest on disk."""
        self.rows = dict(sorted(self.rows.items()))
        parts = [asdict(row) for row in self.rows.values()]
        write_json(self.folder / MANIFEST, {"format": FORMAT, "key": self.key, "parts": parts})
        self._written = time.monotonic()


@contextmanager
def writing_parts(folder: Path, key: str) -> Iterator[WritableParts]:
    """The parts of `folder` for writing, with this process as their only writer; orphans of a killed run are swept."""
    with writing(folder):
        parts = WritableParts(folder, key)
        try:
            yield parts
        finally:
            parts.flush()
