"""Zip archives, unpacked into a temporary folder. Sizes are limited, because an archive may be malicious.

An archive is refused as a whole, before anything is unpacked, because a part of it may be an incomplete scan. Archives
inside an archive are unpacked as files and not opened.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from ildfv.errors import InputError
from ildfv.scans.libraries import format_error

SUFFIX = ".zip"
MAX_FILES = 200_000  # several hundred scans with one file per slice
MAX_BYTES = 64 << 30  # unpacked bytes
MAX_RATIO = 100  # ratio of unpacked to packed size; zip reduces CT to a third, an uncompressed label map to a hundredth
SMALL = 1 << 30  # unpacked bytes up to which any ratio is allowed: the ratio of a single label map may be larger
CHUNK = 1 << 20  # bytes
METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
ENCRYPTED = 0x1  # flag of an entry
DRIVE = re.compile(r"[A-Za-z]:")


def is_archive(path: Path) -> bool:
    """Whether the file is a zip archive by its name and its first bytes."""
    if path.suffix.lower() != SUFFIX or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")  # PK\x05\x06: an empty archive


@contextmanager
def extracted(archive: Path) -> Iterator[Path]:
    """A temporary folder with the files of a zip archive. The folder is removed at the end of the context.

    The folder is private to the user, and is created in TMPDIR. Files have the modification time of the archive, so
    that unpacking it again changes nothing. Raises the errors of `extract`.
    """
    with tempfile.TemporaryDirectory(prefix="ildfv-", ignore_cleanup_errors=True) as folder:
        extract(archive, Path(folder))
        yield Path(folder)


@contextmanager
def unpacked(source: Path) -> Iterator[Path]:
    """The source itself, or a temporary folder with the files of a zip archive, as from `extracted`."""
    if not is_archive(source):
        yield source
        return
    with extracted(source) as folder:
        yield folder


def extract(archive: Path, folder: Path) -> None:
    """Writes the files of a zip archive into an existing folder.

    Raises `InputError` for a corrupt or encrypted archive, one with links or with paths that leave the folder, and one
    that is larger than the limits of this module or than the free space; and `OSError` if the archive cannot be read.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = _checked(archive, opened, folder)
            time = archive.stat().st_mtime_ns
            for inside, entry in entries.items():
                target = folder / inside
                target.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(entry) as source, target.open("xb") as file:
                    shutil.copyfileobj(source, file, CHUNK)  # at most the size that the entry declares
                os.utime(target, ns=(time, time))
    except InputError:
        raise
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:  # "a" and "a/b", or "a" and "A"
        raise InputError(f"{archive.name} must contain each path once, got two entries with one path") from error
    except Exception as error:  # the parser can raise any exception for a corrupt archive
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # a disk error
            raise
        raise InputError(f"{archive.name} must be an intact zip archive, got {format_error(error)}") from error


def _checked(archive: Path, opened: zipfile.ZipFile, folder: Path) -> dict[PurePosixPath, zipfile.ZipInfo]:
    """The files of the archive by path. Raises `InputError` unless all of them may be unpacked."""
    entries: dict[PurePosixPath, zipfile.ZipInfo] = {}
    for number, entry in enumerate(opened.infolist(), start=1):
        inside = _path(archive, entry, number)
        mode = entry.external_attr >> 16
        if entry.is_dir() or stat.S_ISDIR(mode):
            continue
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise InputError(
                f"{archive.name} must contain only files and folders, got a link or device (entry {number})"
            )
        if entry.flag_bits & ENCRYPTED:
            raise InputError(f"{archive.name} must not be encrypted, got an encrypted file: unpack it into a folder")
        if entry.compress_type not in METHODS:
            raise InputError(
                f"{archive.name} must be packed with deflate, bzip2 or LZMA, got method {entry.compress_type}: "
                "unpack it into a folder"
            )
        if inside in entries:
            raise InputError(f"{archive.name} must contain each path once, got two entries with one path")
        entries[inside] = entry
    _check_size(archive, list(entries.values()), folder)
    return entries


def _path(archive: Path, entry: zipfile.ZipInfo, number: int) -> PurePosixPath:
    """The path of an entry, which is below the folder that it is unpacked to.

    Messages state the number of the entry, because names of files may identify the patient.
    """
    name = entry.orig_filename.replace("\\", "/")  # some writers on Windows use backslashes
    inside = PurePosixPath(name)
    if not name.strip("/") or "\0" in name or inside.is_absolute() or ".." in inside.parts or DRIVE.match(name):
        raise InputError(
            f"{archive.name}: paths must stay inside the archive's folder, got a path that leaves it (entry {number})"
        )
    return inside


def _check_size(archive: Path, entries: list[zipfile.ZipInfo], folder: Path) -> None:
    """Raises `InputError` if the archive exceeds a limit, or the disk has too little space for its files."""
    packed = archive.stat().st_size
    if len(entries) > MAX_FILES:
        raise InputError(f"{archive.name} must contain at most {MAX_FILES:,} files, got {len(entries):,}")
    if sum(entry.compress_size for entry in entries) > packed:
        raise InputError(f"{archive.name} must contain separate data for each file, got files that overlap")
    size = sum(entry.file_size for entry in entries)
    if size > min(MAX_BYTES, max(SMALL, MAX_RATIO * packed)):
        raise InputError(
            f"{archive.name} must unpack to at most {MAX_BYTES:,} bytes and {MAX_RATIO} times its size, got {size:,} "
            f"bytes ({size // max(1, packed):,} times): if it is trustworthy, unpack it into a folder"
        )
    if size > (free := shutil.disk_usage(folder).free):
        raise InputError(
            f"{archive.name} needs {size:,} free bytes in {folder.parent}, got {free:,}: set TMPDIR to another disk"
        )
