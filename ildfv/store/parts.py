"""Large arrays as a folder of HDF5 parts with a manifest. A part is listed only when it is complete and hashed.

The manifest is `manifest.json`: {"format": …, "key": …, "parts": [{"name", "count", "sha256", "key", "order"}, …]};
parts are sorted by order, then by name. An empty manifest is written before the first part. The key of the folder
identifies the settings and inputs of all parts; the key of a part identifies the input of this part. A later run uses
the keys to find outdated parts. Manifests of format 1 have no "order".
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
FORMATS = (1, 2)  # without and with "order"
OVERHEAD = 64 << 10  # bytes of a part in addition to its arrays
DAMAGE = (OSError, KeyError, RuntimeError)  # raised by h5py for damaged files
FLUSH_SECONDS = 2.0  # between writes of the manifest; writing it after every part would take quadratic time


@dataclass(frozen=True)
class Row:
    """One part in the manifest: its name, number of items, SHA-256 of its file, key of its input, and sort key."""

    name: str
    count: int
    sha256: str
    key: str = ""
    order: str = ""

    def __post_init__(self):
        texts = all(isinstance(text, str) for text in (self.name, self.sha256, self.key, self.order))
        if not (texts and isinstance(self.count, int)):
            raise TypeError(f"a part must have strings and an integer count, got {astuple(self)}")
        if Path(self.name).name != self.name:  # a manifest must not point outside its folder
            raise TypeError(f"the name of a part must be a file name without folders, got {self.name!r}")


def write_part(
    folder: Path,
    name: str,
    arrays: dict[str, np.ndarray],
    attributes: dict | None = None,
    *,
    key: str = "",
    order: str = "",
) -> Row:
    """Writes the file `folder/name.h5` and returns its manifest row; processes may call it for distinct names.

    arrays: all with the same first dimension, the number of items. Strings in `attributes` are read back as bytes.
    Equal content gives equal bytes. Checksums in the file reveal a flipped bit when the arrays are read. Raises
    `InputError` if the arrays have different lengths, or the disk has too little space.
    """
    folder = Path(folder)
    counts = {len(array) for array in arrays.values()}
    if len(counts) != 1:
        raise InputError(f"arrays of part {name} must have equal lengths, got {sorted(counts)}")
    check_space(folder, int(1.05 * sum(array.nbytes for array in arrays.values())) + OVERHEAD)
    path = folder / f"{name}.h5"
    with replacing(path) as temporary, h5py.File(temporary, "x", libver=("v110", "v110")) as file:
        for key_, value in sorted((attributes or {}).items()):
            # Fixed-length bytes: HDF5 stores variable-length strings without a checksum.
            file.attrs[key_] = np.array(value.encode() or b"\0") if isinstance(value, str) else value
        for array_name, array in sorted(arrays.items()):
            # Each large item has its own chunk, because slices are read in any order.
            rows = max(1, min(len(array), (256 << 10) // max(1, array[:1].nbytes)))
            chunks = (rows, *array.shape[1:]) if array.size else None
            file.create_dataset(array_name, data=array, chunks=chunks, fletcher32=bool(array.size))
    return Row(name, counts.pop(), sha256(path), key, order)


class Parts:
    """A local or remote folder of parts, for reading. `writing_parts` opens a folder for writing.

    schema: the arrays and attributes that every part must have; None: any plain arrays. InputError: the folder has no
    manifest, or an invalid one.
    """

    schema: Schema | None = None

    def __init__(self, folder: Path | str, *, schema: Schema | None = None):
        self.folder, self.schema = place(folder), schema
        manifest = self.folder / MANIFEST
        try:
            content = read_json(manifest)
        except FileNotFoundError as error:
            raise InputError(f"{self.folder} has no finished parts: {MANIFEST} is missing") from error
        try:
            format, self.key = content["format"], str(content["key"])
            self.rows: dict[str, Row] = {row["name"]: Row(**row) for row in content["parts"]}
        except (KeyError, TypeError) as error:  # JSON of another shape
            raise InputError(f"{manifest} must be a list of parts, got {error!r}") from error
        check(format in FORMATS, f"{manifest} must have format 1 or 2, got {format!r}: update ildfv")

    def __contains__(self, name: str) -> bool:
        return name in self.rows

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def count(self) -> int:
        """The number of items in all parts."""
        return sum(row.count for row in self.rows.values())

    def path(self, name: str) -> Path:
        """The path of the part's file, whether or not it exists."""
        return self.folder / f"{name}.h5"

    def file(self, name: str) -> h5py.File:
        """The part's file, open for reading; the caller must close it. Raises as `open` does."""
        path = self.path(name)
        try:
            file = path if isinstance(path, Path) else path.open()
            row = self.rows.get(name)
            return open_hdf5(file, path, schema=self.schema, count=None if row is None else row.count)
        except PermissionError as error:
            raise InputError(f"{path} must be readable, got permission denied") from error
        except DAMAGE as error:
            raise InputError(f"{path} must be a complete part, got a truncated or damaged file: {MEND}") from error

    @contextmanager
    def open(self, name: str) -> Iterator[h5py.File]:
        """The part, open for reading. Raises `InputError` if it is missing, not readable or damaged."""
        try:
            with self.file(name) as file:
                yield file
        except DAMAGE as error:  # checksum mismatch, or a disk error
            raise InputError(f"{self.path(name)} must be intact, got damaged data: {MEND}") from error

    def intact(self, row: Row) -> bool:
        """Whether the part's file exists and has the SHA-256 in the manifest."""
        path = self.path(row.name)
        return path.exists() and sha256(path) == row.sha256

    def verify(self) -> list[str]:
        """One line for each part that is missing or does not match its row in the manifest."""
        faults = []
        for name, row in self.rows.items():
            path = self.path(name)
            try:
                if not path.exists():
                    faults.append(f"{path}: missing")
                elif (actual := sha256(path)) != row.sha256:
                    faults.append(f"{path}: SHA-256 must be {row.sha256[:12]}…, got {actual[:12]}…")
                else:
                    self.file(name).close()  # opening checks its content and the number of items
            except OutOfReachError:
                raise
            except (InputError, OSError) as error:  # damaged archive, or a file without read permission
                faults.append(str(error))
        return faults


class WritableParts(Parts):
    """A folder of parts that this process has locked for writing."""

    def __init__(self, folder: Path, key: str):
        self.folder, self.key, self.rows, self._written = Path(folder), key, {}, time.monotonic()
        if (self.folder / MANIFEST).exists():
            super().__init__(folder)
            if self.key != key:
                raise InputError(
                    f"{self.folder} was made with other settings or inputs (key {self.key}, now {key}): "
                    "use another workspace, or remove this folder to create it again"
                )
        sweep(self.folder)
        if not (self.folder / MANIFEST).exists():
            count = sum(1 for _ in self.folder.glob("*.h5"))  # a killed run leaves at least an empty manifest
            check(
                count == 0,
                f"{self.folder} has parts but no {MANIFEST} (parts: {count}): restore this file, or remove the folder",
            )
            self.flush()
        for orphan in self.folder.glob("*.h5"):  # a process was killed before it wrote the row of this part
            if orphan.stem not in self.rows:
                orphan.unlink()

    def add(self, *rows: Row) -> None:
        """Adds finished parts to the manifest, which is written at most every `FLUSH_SECONDS`, and by `flush`."""
        self.rows |= {row.name: row for row in rows}
        if time.monotonic() - self._written > FLUSH_SECONDS:
            self.flush()

    def drop(self, *names: str) -> None:
        """Removes parts from the manifest, then their files."""
        for name in names:
            self.rows.pop(name, None)
        self.flush()
        for name in names:
            self.path(name).unlink(missing_ok=True)

    def replace(self, row: Row, folder: Path) -> None:
        """Replaces a part by the finished part in `folder`. If the process is killed meanwhile, neither is listed."""
        self.drop(row.name)
        os.replace(folder / f"{row.name}.h5", self.path(row.name))
        sync(self.folder)
        self.add(row)

    def write(self, name: str, arrays: dict[str, np.ndarray], attributes: dict | None = None, *, key: str = "") -> None:
        """Writes a part and adds it to the manifest. arrays, attributes, key: as in `write_part`."""
        self.add(write_part(self.folder, name, arrays, attributes, key=key))

    def flush(self) -> None:
        """Writes the manifest to disk."""
        self.rows = {row.name: row for row in sorted(self.rows.values(), key=lambda row: (row.order, row.name))}
        ordered = any(row.order for row in self.rows.values())
        parts = [asdict(row) for row in self.rows.values()]
        if not ordered:  # as earlier versions wrote it
            for row in parts:
                del row["order"]
        write_json(self.folder / MANIFEST, {"format": FORMATS[ordered], "key": self.key, "parts": parts})
        self._written = time.monotonic()


@contextmanager
def writing_parts(folder: Path, key: str) -> Iterator[WritableParts]:
    """The parts of `folder` for writing under its lock; unlisted files of a killed run are removed.

    Raises the errors of `lock.writing`, and `InputError` if the folder has another key, parts without a manifest or an
    invalid manifest.
    """
    with writing(folder):
        parts = WritableParts(folder, key)
        try:
            yield parts
        finally:
            parts.flush()
