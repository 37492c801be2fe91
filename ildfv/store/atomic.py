"""Atomic file writes: a temporary name in the same folder, fsync, rename, fsync of the folder."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import resource
import shutil
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ildfv.errors import InputError

TEMPORARY = ".writing-"  # prefix of unfinished files, which the next run removes
MEND = "run `ildfv verify` to see how to restore it"
SPARE = 16 << 20  # bytes to leave free: HDF5 can crash with SIGSEGV when the disk is full


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path to write to; it is renamed to `path` on success and removed on an error."""
    path = Path(path)
    # The suffix is kept: writers such as NumPy's choose a format by it, or append one.
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename in (None, str(temporary)):
            # The message should have the final name; h5py's text contains the temporary one.
            named = str(temporary) in str(error.strerror)
            raise OSError(error.errno, os.strerror(error.errno) if named else error.strerror, str(path)) from error
        raise
    sync(path.parent)


def sync(path: Path) -> None:
    """Flushes a file or folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(folder: Path) -> None:
    """Removes unfinished files of a killed run. Needs the folder's lock."""
    for orphan in Path(folder).glob(f"{TEMPORARY}*"):
        if orphan.is_dir():
            shutil.rmtree(orphan)
        else:
            orphan.unlink()


def write_bytes(path: Path, data: bytes) -> None:
    """Writes `data` to the file `path` atomically."""
    path = Path(path)
    check_space(path.parent, len(data))
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, content) -> None:
    """Writes `content` to `path` as indented JSON without sorting keys. ValueError: a NaN, use None."""
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_bytes(
        path, text.encode(errors="backslashreplace")
    )  # file names may not be UTF-8; JSON escapes such as \udce9 are read back


def read_json(path: Path):
    """The content of a JSON file. InputError: not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} must be JSON: {error}") from error


def check_space(folder: Path, size: int) -> None:
    """Raises InputError unless a file of `size` bytes can be written to `folder` with SPARE bytes left free."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if limit != resource.RLIM_INFINITY and limit < size:
        raise InputError(
            f"{folder}: a file of {size:,} bytes exceeds this process's limit of {limit:,}: raise it with ulimit -f"
        )
    free = shutil.disk_usage(folder).free
    if free < size + SPARE:
        raise InputError(f"not enough disk space for {folder}: {size + SPARE:,} bytes needed, {free:,} free")


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_gzip(path: Path) -> None:
    """Raises InputError unless the gzip file is complete and matches its own checksum."""
    try:
        with gzip.open(path) as file:
            while file.read(1 << 20):
                pass
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(f"{path} must be an intact gzip file: {error}") from error


def key_of(*content) -> str:
    """A hash (16 hex digits) of JSON-able settings and inputs; equal content has equal keys."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
