"""MetaImage volumes (.mha, .mhd with its data file): the grid from the header alone, and the voxel values."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ildfv.errors import InputError, require
from ildfv.scans.geometry import Geometry, checked
from ildfv.scans.libraries import format_error
from ildfv.scans.volume import check_data_size, check_size

MAX_HEADER = 1 << 16  # bytes; largest header that is read
LOCAL = "LOCAL"  # the data follow the header
ITEM_SIZES = {"8-bit": 1, "16-bit": 2, "32-bit": 4, "64-bit": 8}


def metaimage_data_file(path: Path) -> Path:
    """The file with the voxels: the file itself, or the file in the same folder that the header names.

    Raises `InputError` if the header is invalid or the file does not exist.
    """
    with path.open("rb") as file:
        lines = file.read(MAX_HEADER).split(b"\n")
    for line in lines:
        key, _, value = line.decode("latin-1").partition("=")
        if key.strip() == "ElementDataFile":
            name = value.strip()
            break
    else:
        raise InputError(f"{path.name} must be MetaImage, got no ElementDataFile")
    if name.upper() == LOCAL:
        return path
    # The messages do not contain the name, because it may identify the patient, and `without_names` cannot remove it.
    rule = f"{path.name}: ElementDataFile must be one file in the folder of the header"
    if name.upper().startswith("LIST") or "%" in name or "/" in name or "\\" in name:
        raise InputError(f"{rule}, got a list, a pattern or a path: convert the volume into one file")
    if not (path.parent / name).is_file():
        remedy = "put the data file into this folder, under the name in the header"
        raise InputError(f"{rule}, got the name of a missing file: {remedy}")
    return path.parent / name


def metaimage_geometry(path: Path) -> Geometry:
    """The grid declared by the header, axes x, y, z as in SimpleITK. No voxel is read.

    Raises `InputError` if the header is invalid or declares more than the file can contain, and `MissingPackageError`
    if SimpleITK is not installed.
    """
    return _grid(path, _reader(path))


def metaimage_values(path: Path) -> np.ndarray:
    """The voxel values, axes x, y, z. Raises `InputError` if they cannot be read, and as `metaimage_geometry`."""
    import SimpleITK

    reader = _reader(path)
    grid = _grid(path, reader)
    try:
        image = reader.Execute()
    except RuntimeError as error:  # truncated or corrupt
        raise InputError(f"{path.name}: voxels must be readable, got {format_error(error)}") from error
    return SimpleITK.GetArrayFromImage(image).reshape(grid.shape[::-1]).transpose(2, 1, 0)


def _reader(path: Path):
    sitk = require("SimpleITK", purpose="reading MetaImage")
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    metaimage_data_file(path)
    reader = sitk.ImageFileReader()
    reader.SetImageIO("MetaImageIO")
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise InputError(f"{path.name} must be MetaImage, got {format_error(error)}") from error
    return reader


def _grid(path: Path, reader) -> Geometry:
    """The grid in a header that SimpleITK has read."""
    import SimpleITK

    shape = tuple(int(n) for n in reader.GetSize())
    if len(shape) != 3 or reader.GetNumberOfComponents() != 1:
        raise InputError(f"{path.name} must contain one volume with 3 axes, got shape {shape}")
    kind = SimpleITK.GetPixelIDValueAsString(reader.GetPixelID())
    itemsize = next((size for name, size in ITEM_SIZES.items() if name in kind), None)
    if itemsize is None:
        raise InputError(f"{path.name} must contain integers or floats, got {kind}")
    check_size(shape, itemsize)
    declared, data_file = int(np.prod(shape, dtype=np.int64)) * itemsize, metaimage_data_file(path)
    check_data_size(data_file, declared, data_file.stat().st_size, compressed=True)
    cosines = np.array(reader.GetDirection(), np.float64).reshape(3, 3)  # column i for axis i, in LPS like DICOM
    return checked(shape, reader.GetOrigin(), cosines.T * np.array(reader.GetSpacing())[:, None])
