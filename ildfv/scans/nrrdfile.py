"""NRRD volumes (raw, gzip or bzip2), in one file or with a detached header: the grid from the header, and the voxels.

pynrrd parses the header. This module reads the data with a size limit, because a small compressed file could otherwise
exhaust the memory.
"""

from __future__ import annotations

import bz2
import gzip
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ildfv.errors import InputError
from ildfv.scans.geometry import Geometry, checked
from ildfv.scans.libraries import format_error
from ildfv.scans.volume import check_data_size, check_size

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


@dataclass(frozen=True)
class NrrdHeader:
    """The checked header of an NRRD file. `layers`: number of volumes, interleaved along the first axis."""

    grid: Geometry  # axes as stored, fastest first
    layers: int
    dtype: np.dtype
    encoding: str
    data_file: Path  # the file itself, unless the header is detached
    data_start: int  # offset of the voxels in the data file, bytes
    fields: Mapping[str, str]  # all fields of the header, including those that NRRD does not define

    @property
    def size(self) -> int:
        """Number of bytes of the voxels."""
        return int(np.prod(self.grid.shape, dtype=np.int64)) * self.layers * self.dtype.itemsize


def nrrd_header(path: Path) -> NrrdHeader:
    """The header. No voxel is read.

    Raises `InputError` if the header is invalid or not supported, or declares more than its data file
    can contain.
    """
    import nrrd

    try:
        with path.open("rb") as file:
            fields = dict(nrrd.read_header(file))
            end = file.tell()
    except OSError:
        raise
    except Exception as error:  # the parser can raise any exception for a corrupt header
        raise InputError(f"{path.name} must be NRRD, got {format_error(error)}") from error
    data_file, start = _data_file(path, fields, end)
    if any(int(fields.get(name, 0)) for name in ("byte skip", "byteskip", "line skip", "lineskip")):
        raise InputError(f"{path.name} must have its data directly after the header, got a byte or line skip")
    sizes = tuple(int(n) for n in fields.get("sizes", ()))
    if len(sizes) not in (3, 4):
        raise InputError(f"{path.name} must contain volumes with 3 axes, got sizes {sizes}")
    layers, shape = (sizes[0], sizes[1:]) if len(sizes) == 4 else (1, sizes)
    encoding = str(fields.get("encoding", "")).lower()
    if encoding not in READERS:
        raise InputError(f"{path.name}: encoding must be raw, gzip or bzip2, got {encoding!r}")
    dtype = _dtype(path, fields)
    check_size(shape, dtype.itemsize * layers)
    header = NrrdHeader(_grid(path, fields, shape), layers, dtype, encoding, data_file, start, fields)
    if encoding in ("raw", "gzip", "gz"):  # bzip2 has no limit of its ratio
        size = data_file.stat().st_size - start
        check_data_size(data_file, header.size, size, compressed=encoding != "raw")
    return header


def nrrd_geometry(path: Path) -> Geometry:
    """The grid declared by the header, axes as stored (fastest first). No voxel is read.

    Raises the errors of `nrrd_header`, and `InputError` if the file contains several volumes.
    """
    header = nrrd_header(path)
    if header.layers != 1:
        sizes = (header.layers, *header.grid.shape)
        raise InputError(f"{path.name} must contain one volume with 3 axes, got sizes {sizes}")
    return header.grid


def nrrd_values(path: Path) -> np.ndarray:
    """The voxel values, axes as stored (fastest first). NRRD defines no rescaling.

    Raises the errors of `nrrd_geometry` and `nrrd_layers`.
    """
    nrrd_geometry(path)
    return nrrd_layers(path)[0]


def nrrd_layers(path: Path) -> np.ndarray:
    """The voxel values of all layers, (layers, …) with the axes of a volume as stored (fastest first).

    Raises `InputError` if they cannot be read, or their number differs from that in the header, and as `nrrd_header`.
    """
    header = nrrd_header(path)
    try:
        with header.data_file.open("rb") as file:
            file.seek(header.data_start)
            data = READERS[header.encoding](file).read(header.size + 1)
    except (OSError, EOFError, ValueError, zlib.error) as error:  # truncated or corrupt
        raise InputError(f"{path.name}: voxels must be readable, got {format_error(error)}") from error
    if len(data) != header.size:
        got = f"only {len(data):,}" if len(data) < header.size else "more"
        raise InputError(f"{header.data_file.name} must contain {header.size:,} bytes of voxels, got {got}")
    return np.frombuffer(data, header.dtype).reshape((header.layers, *header.grid.shape), order="F")


def _data_file(path: Path, fields: Mapping, end: int) -> tuple[Path, int]:
    """The file with the voxels, and the byte at which they start."""
    name = fields.get("data file", fields.get("datafile"))
    if name is None:
        return path, end
    data_file = path.parent / str(name)
    # The messages do not contain the name, because it may identify the patient, and `without_names` cannot remove it.
    rule = f"{path.name}: data file must be one file in the folder of the header"
    if not isinstance(name, str) or "%" in name or name.upper().startswith("LIST") or "/" in name or "\\" in name:
        raise InputError(f"{rule}, got a list, a pattern or a path: convert the volume into one file")
    if not data_file.is_file():
        remedy = "put the data file into this folder, under the name in the header"
        raise InputError(f"{rule}, got the name of a missing file: {remedy}")
    return data_file, 0


def _grid(path: Path, fields: Mapping, shape: tuple[int, ...]) -> Geometry:
    space = str(fields.get("space", "")).lower()
    if space not in TO_LPS:
        raise InputError(f"{path.name}: space must be one of {', '.join(TO_LPS)}, got {space or 'none'!r}")
    units = [str(unit).strip('"') for unit in fields.get("space units", ("mm",) * 3)]
    if set(units) != {"mm"}:
        raise InputError(f"{path.name} must be in mm, got {units}")
    steps, origin = fields.get("space directions"), fields.get("space origin")
    if steps is not None and np.shape(steps) == (4, 3) and not np.isfinite(np.asarray(steps, np.float64)[0]).any():
        steps = steps[1:]  # the first axis counts the layers and has no direction
    if steps is None or origin is None or np.shape(steps) != (3, 3) or np.shape(origin) != (3,):
        raise InputError(f"{path.name} must have 3 space directions and a space origin, got {steps} and {origin}")
    sign = np.array(TO_LPS[space], np.float64)
    return checked(shape, origin * sign, steps * sign)


def _dtype(path: Path, header: Mapping) -> np.dtype:
    kind = str(header.get("type", "")).lower()
    code = next((code for code, names in TYPES.items() if kind in names), None)
    if code is None:
        raise InputError(f"{path.name}: type must be an integer or float type, got {kind or 'none'!r}")
    endian = str(header.get("endian", "")).lower()
    if code[1] != "1" and endian not in ("little", "big"):
        raise InputError(f"{path.name}: endian must be little or big, got {endian or 'none'!r}")
    return np.dtype((">" if endian == "big" else "<") + code)
