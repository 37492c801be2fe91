"""Atomic file writes: write a temporary file in the same folder, fsync it, rename it, fsync the folder."""

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

from ildfv.errors import InputError
from ildfv.parsing import MAX_JSON_BYTES, open_regular, parse_json, read_bytes

TEMPORARY = ".writing-"  # prefix of unfinished files, which the next run removes
MEND = "run `ildfv verify` to see how to restore it"
PRIVATE = 0o600  # mode of files that contain the salt or paths, because both may identify patients
SPARE = 16 << 20  # bytes to leave free: HDF5 can crash with SIGSEGV when the disk is full


@contextmanager
def replacing(path: Path, *, private: bool = False) -> Iterator[Path]:
    """A temporary path to write to; it is renamed to `path` on success and removed on an error.

    The mode of the file follows the umask, regardless of the writer, or is 0600 if `private`. The caller must create a
    private file with this mode, as `write_bytes` does.
    """
    path = Path(path)
    # The suffix is kept, because some writers choose the format by the suffix, or append a missing suffix.
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
            # The message must contain the final name; an error of h5py has the temporary name in its message.
            named = str(temporary) in str(error.strerror)
            raise OSError(error.errno, os.strerror(error.errno) if named else error.strerror, str(path)) from error
        raise
    sync(path.parent)


def _mode(temporary: Path) -> int:
    """The mode of a new file under the umask. A file is created to find it, because reading the umask would set it."""
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise OSError(error.errno, error.strerror) from error  # without a name, because `replacing` adds it
    try:
        return stat.S_IMODE(os.fstat(handle).st_mode)
    finally:
        os.close(handle)
        temporary.unlink()  # writers such as h5py's create the file themselves


def _private(path: str, flags: int) -> int:
    """Creates a file that only its owner can read; for the parameter `opener` of `open`."""
    return os.open(path, flags, PRIVATE)


def sync(path: Path) -> None:
    """Flushes a file or folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(folder: Path) -> None:
    """Removes the unfinished files of a killed run. The caller must hold the lock of the folder."""
    for orphan in Path(folder).glob(f"{TEMPORARY}*"):
        if orphan.is_dir():
            shutil.rmtree(orphan)
        else:
            orphan.unlink()


def write_bytes(path: Path, data: bytes, *, private: bool = False) -> None:
    """Writes `data` to the file `path` atomically. private: only the owner can ever read the file."""
    path = Path(path)
    check_space(path.parent, len(data))
    opener = _private if private else None
    with replacing(path, private=private) as temporary, open(temporary, "xb", opener=opener) as file:
        file.write(data)


def write_json(path: Path, content, *, private: bool = False) -> None:
    """Writes `content` to `path` as indented JSON, with keys in their order. private: as for `write_bytes`.

    Raises `ValueError` if the content includes NaN; use None instead.
    """
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    # File names may not be valid UTF-8. They are written as JSON escapes such as \udce9, which can be read back.
    write_bytes(path, text.encode(errors="backslashreplace"), private=private)


def read_json(path: Path):
    """The content of a JSON file, local or remote.

    Raises `InputError` if it is not JSON or, for a local file, too large or not a regular file; `OutOfReachError` if a
    remote store does not respond; and `FileNotFoundError`.
    """
    # A remote file is not a `Path` and cannot be a pipe or a device.
    text = read_bytes(path, MAX_JSON_BYTES) if isinstance(path, Path) else path.read_bytes()
    return parse_json(text, path)


def check_space(folder: Path, size: int) -> None:
    """Raises InputError unless a file of `size` bytes can be written to `folder` with SPARE bytes left free."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if limit != resource.RLIM_INFINITY and limit < size:
        raise InputError(
            f"{folder}: a file must have at most {limit:,} bytes (ulimit -f), got {size:,}: raise this limit"
        )
    free = shutil.disk_usage(folder).free
    if free < size + SPARE:
        raise InputError(f"not enough disk space for {folder}: {size + SPARE:,} bytes needed, {free:,} free")


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    with open_regular(path) if isinstance(path, Path) else path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_gzip(path: Path) -> None:
    """Raises InputError unless the gzip file is complete and matches its own checksum."""
    try:
        with open_regular(path) as whole, gzip.open(whole) as file:
            while file.read(1 << 20):
                pass
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(f"{path} must be an intact gzip file: {error}") from error


def key_of(*content) -> str:
    """A hash (16 hex digits) of settings and inputs that JSON can represent. Equal content has equal keys."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
