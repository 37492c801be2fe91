"""DICOM files as found in practice: with or without preamble, plain or compressed with gzip."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ildfv.errors import InputError
from ildfv.scans.bounded import open_bounded
from ildfv.scans.libraries import format_error
from ildfv.scans.volume import MAX_VOXELS

GZIP = b"\x1f\x8b"
START = 1024  # bytes at the start of a file that identify it
MAX_GROUP = 0x0008  # without preamble a file starts with file meta information (group 2) or with group 8
MAX_GZIPPED = 2 * MAX_VOXELS + (64 << 20)  # bytes: the largest volume and its headers


def start_of(path: Path) -> bytes:
    """The first bytes of the file, decompressed if it is a gzip file whose name ends with .gz."""
    with path.open("rb") as file:
        start = file.read(START)
    if not _is_gzipped(path, start):
        return start
    try:
        with gzip.open(path) as file:
            return file.read(START)
    except (OSError, EOFError, zlib.error):  # truncated or corrupt: its format stays unknown
        return start


def packing_of(path: Path, start: bytes) -> str:
    """How a DICOM file deviates from the standard file format, or ""."""
    with path.open("rb") as file:
        if _is_gzipped(path, file.read(len(GZIP))):
            return "compressed with gzip"
    return "" if start[128:132] == b"DICM" else "without preamble"


def is_dicom(start: bytes) -> bool:
    """Whether a file with these first bytes is DICOM: "DICM" at byte 128, or a DICOM data element at the start."""
    return start[128:132] == b"DICM" or _starts_with_element(start)


@contextmanager
def open_dicom(path: Path) -> Iterator[BinaryIO]:
    """The open file, for `read_dicom`. A gzip file is decompressed into memory.

    Raises `InputError` for a gzip file that is corrupt or has more than `MAX_GZIPPED` bytes.
    """
    with open_bounded(path) as file:
        start = file.read(START)
        file.seek(0)
        if not _is_gzipped(path, start):
            yield file
            return
        try:
            content = gzip.GzipFile(fileobj=file).read(MAX_GZIPPED + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"must be a complete gzip file, got {format_error(error)}") from error
    if len(content) > MAX_GZIPPED:
        raise InputError(f"must contain at most {MAX_GZIPPED:,} bytes, got more")
    yield io.BytesIO(content)


def read_dicom(file: BinaryIO, **options):
    """The dataset of an open file. options: passed to `pydicom.dcmread`.

    A file without preamble may also lack the file meta information. Such files were written before the file meta
    information was introduced; they are little endian and not compressed.
    """
    from pydicom import dcmread
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

    start = file.read(START)
    file.seek(0)
    dataset = dcmread(file, force=True, **options)
    if start[128:132] != b"DICM" and "TransferSyntaxUID" not in dataset.file_meta:
        is_implicit, is_little_endian = dataset.original_encoding
        if is_little_endian:
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if is_implicit else ExplicitVRLittleEndian
    return dataset


def size_of(file: BinaryIO) -> int:
    """The number of bytes of an open file. The position in the file does not change."""
    here = file.tell()
    size = file.seek(0, io.SEEK_END)
    file.seek(here)
    return size


def _is_gzipped(path: Path, start: bytes) -> bool:
    return start.startswith(GZIP) and path.name.lower().endswith(".gz")


def _starts_with_element(start: bytes) -> bool:
    """Whether the bytes start with a data element of group 2 or 8, explicit or implicit VR, little endian.

    Two consecutive elements are checked: the second must follow at the length that the first declares.
    """
    group, end = _element(start, 0)
    if group not in (2, MAX_GROUP) or end is None or end + 8 > len(start):
        return False
    second, _ = _element(start, end)
    return second is not None and group <= second <= MAX_GROUP


def _element(start: bytes, at: int) -> tuple[int | None, int | None]:
    """Group of the element at byte `at`, and the byte after the element; (None, None) if the bytes end before it."""
    if len(start) < at + 8:
        return None, None
    group = int.from_bytes(start[at : at + 2], "little")
    kind = start[at + 4 : at + 6]
    if kind.isalpha() and kind.isupper():
        long = kind in (b"OB", b"OW", b"OF", b"SQ", b"UT", b"UN", b"UC", b"UR", b"OD", b"OL")
        length = start[at + 8 : at + 12] if long else start[at + 6 : at + 8]
        header = 12 if long else 8
    else:
        length, header = start[at + 4 : at + 8], 8
    return group, at + header + int.from_bytes(length, "little")
