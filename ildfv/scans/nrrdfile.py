"""NRRD volumes in one file (raw, gzip or bzip2): the grid from the header alone, and the voxel values.

pynrrd parses the header. The data are read here with a size limit, because a small compressed file could otherwise
exhaust the memory.
"""

from __future__ import annotations

import bz2
import gzip
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ildfv.errors import InputError
from ildfv.scans.geometry import Geometry, checked
from ildfv.scans.libraries import format_error
from ildfv.scans.volume import MAX_GZIP_RATIO, check_size

TO_LPS = {  # space: sign of each axis relative to LPS
    "left-posterior-superior": (1, 1, 1),
    "lps": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1),
    "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1),
    "las": (1, -1, 1),
}
TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
READERS: dict[str, Callable] = {
    "raw": lambda file: file,
    "gzip": lambda file: gzip.GzipFile(fileobj=file),
    "bzip2": bz2.BZ2File,
}
READERS |= {"gz": READERS["gzip"], "bz2": READERS["bzip2"]}


def nrrd_geometry(path: Path) -> Geometry:
    """The grid declared by the header, axes as stored (fastest first). No voxel is read."""
    with path.open("rb") as file:
        return _grid(path, _header(path, file))


def nrrd_values(path: Path) -> np.ndarray:
    """The voxel values, axes as stored (fastest first). NRRD defines no rescaling."""
    with path.open("rb") as file:
        header = _header(path, file)
        shape = _grid(path, header).shape
        dtype = _dtype(path, header)
        declared = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        try:
            data = READERS[header["encoding"].lower()](file).read(declared + 1)
        except (OSError, EOFError, ValueError, zlib.error) as error:  # truncated or corrupt
            raise InputError(f"{path.name}: voxels must be readable, got {format_error(error)}") from error
    if len(data) != declared:
        got = f"only {len(data):,}" if len(data) < declared else "more"
        raise InputError(f"{path.name} must contain {declared:,} bytes of voxels, got {got}")
    return np.frombuffer(data, dtype).reshape(shape, order="F")


def _header(path: Path, file) -> dict:
    """The parsed header. Afterwards the file is positioned at the first byte of the data."""
    import nrrd

    try:
        return dict(nrrd.read_header(file))
    except Exception as error:  # a corrupt header can raise anything in the parser
        raise InputError(f"{path.name} must be NRRD, got {format_error(error)}") from error


def _grid(path: Path, header: dict) -> Geometry:
    if "data file" in header or "datafile" in header:
        raise InputError(f"{path.name} must contain its data, got a detached header")
    if any(int(header.get(name, 0)) for name in ("byte skip", "byteskip", "line skip", "lineskip")):
        raise InputError(f"{path.name} must have its data directly after the header, got a byte or line skip")
    shape = tuple(int(n) for n in header.get("sizes", ()))
    if len(shape) != 3:
        raise InputError(f"{path.name} must contain one volume with 3 axes, got sizes {shape}")
    dtype = _dtype(path, header)
    encoding = str(header.get("encoding", "")).lower()
    if encoding not in READERS:
        raise InputError(f"{path.name}: encoding must be raw, gzip or bzip2, got {encoding!r}")
    check_size(shape, dtype.itemsize)
    declared, size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize, path.stat().st_size
    limit = {"raw": size, "gzip": size * MAX_GZIP_RATIO, "gz": size * MAX_GZIP_RATIO}.get(encoding, declared)
    if declared > limit:
        raise InputError(
            f"{path.name} must contain {declared:,} bytes of voxels, got a file of {size:,} bytes (truncated?)"
        )
    space = str(header.get("space", "")).lower()
    if space not in TO_LPS:
        raise InputError(f"{path.name}: space must be one of {', '.join(TO_LPS)}, got {space or 'none'!r}")
    units = [str(unit).strip('"') for unit in header.get("space units", ("mm",) * 3)]
    if set(units) != {"mm"}:
        raise InputError(f"{path.name} must be in mm, got {units}")
    steps, origin = header.get("space directions"), header.get("space origin")
    if steps is None or origin is None or np.shape(steps) != (3, 3) or np.shape(origin) != (3,):
        raise InputError(f"{path.name} must have 3 space directions and a space origin, got {steps} and {origin}")
    sign = np.array(TO_LPS[space], np.float64)
    return checked(shape, origin * sign, steps * sign)


def _dtype(path: Path, header: dict) -> np.dtype:
    kind = str(header.get("type", "")).lower()
    code = next((code for code, names in TYPES.items() if kind in names), None)
    if code is None:
        raise InputError(f"{path.name}: type must be an integer or float type, got {kind or 'none'!r}")
    endian = str(header.get("endian", "")).lower()
    if code[1] != "1" and endian not in ("little", "big"):
        raise InputError(f"{path.name}: endian must be little or big, got {endian or 'none'!r}")
    return np.dtype((">" if endian == "big" else "<") + code)
