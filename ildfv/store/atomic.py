"""Files that appear whole or not at all: a temporary name in the same folder, fsync, rename, fsync of the folder."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import resource
import shutil
import stat
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ildfv.documents import JSON_MOST, open_regular, parse_json, read_bytes
from ildfv.errors import InputError

TEMPORARY = ".writing-"  # names that start so are nobody's: the next run sweeps them
MEND = "`ildfv verify` says what to do"
PRIVATE = 0o600  # of files that hold the salt, or paths: both may tell who a patient is
SPARE = 16 << 20  # bytes left free: a full disk mid-write can end HDF5 in SIGSEGV


@contextmanager
def replacing(path: Path, *, private: bool = False) -> Iterator[Path]:
    """A temporary path to write to; on a clean exit it takes the place of `path`, on an error it is removed.

    The file's mode is what the umask leaves, whatever the writer chose, or 0600 if `private`. A private file must also
    be created so: `write_bytes` does.
    """
    path = Path(path)
    # The suffix stays: writers such as NumPy's or safetensors' may choose a format, or append one, by it.
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        mode = PRIVATE if private else _mode(temporary)
        yield temporary
        os.chmod(temporary, mode)
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


def _mode(temporary: Path) -> int:
    """The mode that a new file gets under this process's umask, which cannot be read without changing it."""
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise OSError(error.errno, error.strerror) from error  # `replacing` names the file meant
    try:
        return stat.S_IMODE(os.fstat(handle).st_mode)
    finally:
        os.close(handle)
        temporary.unlink()  # writers such as h5py's create the file themselves


def _private(path: str, flags: int) -> int:
    """An opener, as `open` takes one, of files that only their owner may read."""
    return os.open(path, flags, PRIVATE)


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


def write_bytes(path: Path, data: bytes, *, private: bool = False) -> None:
    """The file `path` holding `data`; private: readable by its owner only, from the first byte on."""
    path = Path(path)
    check_space(path.parent, len(data))
    opener = _private if private else None
    with replacing(path, private=private) as temporary, open(temporary, "xb", opener=opener) as file:
        file.write(data)


def write_json(path: Path, content, *, private: bool = False) -> None:
    """The file `path` holding `content` as indented JSON, keys in their own order; NaN is refused: use null.

    private: as in `write_bytes`.
    """
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    # File names need not be UTF-8; JSON reads \udce9 back.
    write_bytes(path, text.encode(errors="backslashreplace"), private=private)


def read_json(path: Path):
    """The content of a JSON file, local or remote; InputError if it is not JSON, FileNotFoundError if it is missing."""
    # A remote file is no path: it is read whole by its store.
    text = read_bytes(path, JSON_MOST) if isinstance(path, Path) else path.read_bytes()
    return parse_json(text, path)


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
    with open_regular(path) if isinstance(path, Path) else path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_gzip(path: Path) -> None:
    """Nothing if the gzip file is whole by its own checksum, else `InputError`."""
    try:
        with open_regular(path) as whole, gzip.open(whole) as file:
            while file.read(1 << 20):
                pass
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(f"{path} must be whole: {error}") from error


def key_of(*content) -> str:
    """A short hash (16 hex digits) of JSON-able settings and inputs: equal keys mean equal work."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
