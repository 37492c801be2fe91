"""Files that appear whole or not at all: a temporary name in the same folder, fsync, rename, fsync of the folder."""

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

TEMPORARY = ".writing-"  # names that start so are nobody's: the next run sweeps them
MEND = "`ildfv verify` says what to do"
SPARE = 16 << 20  # bytes left free: a full disk mid-write can end HDF5 in SIGSEGV


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path to write to; on a clean exit it takes the place of `path`, on an error it is removed."""
    path = Path(path)
    # The suffix stays: writers such as NumPy's or safetensors' may choose a format, or append one, by it.
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename in (None, str(temporary)):
            # The name that means something to whoever reads the message; h5py's own text has the temporary one.
            named = str(temporary) in str(error.strerror)
            raise OSError(error.errno, os.strerror(error.errno) if named else error.strerror, str(path)) from error
        raise
    sync(path.parent)


def sync(path: Path) -> None:
    """Hands a file's or folder's content to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(folder: Path) -> None:
    """Removes what a killed run left half-written. Only under the folder's lock."""
    for orphan in Path(folder).glob(f"{TEMPORARY}*"):
        if orphan.is_dir():
            shutil.rmtree(orphan)
        else:
            orphan.unlink()


def write_bytes(path: Path, data: bytes) -> None:
    """The file `path` holding `data`."""
    path = Path(path)
    check_space(path.parent, len(data))
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, content) -> None:
    """The file `path` holding `content` as indented JSON, keys in their own order; NaN is refused: use null."""
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_bytes(path, text.encode(errors="backslashreplace"))  # file names need not be UTF-8; JSON reads \udce9 back


def read_json(path: Path):
    """The content of a JSON file; a file that is not JSON is named."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} must be JSON: {error}") from error


def check_space(folder: Path, size: int) -> None:
    """Nothing if a file of `size` bytes fits in `folder` with some to spare, else `InputError`."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if limit != resource.RLIM_INFINITY and limit < size:
        raise InputError(f"no room in {folder}: a file of {size:,} bytes needed, this process may write {limit:,}")
    free = shutil.disk_usage(folder).free
    if free < size + SPARE:
        raise InputError(f"no room in {folder}: {size + SPARE:,} bytes needed, {free:,} free")


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_gzip(path: Path) -> None:
    """Nothing if the gzip file is whole by its own checksum, else `InputError`."""
    try:
        with gzip.open(path) as file:
            while file.read(1 << 20):
                pass
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(f"{path} must be whole: {error}") from error


def key_of(*content) -> str:
    """A short hash (16 hex digits) of JSON-able settings and inputs: equal keys mean equal work."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
