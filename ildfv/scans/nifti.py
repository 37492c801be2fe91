"""NIfTI-1 and NIfTI-2 volumes (.nii, .nii.gz, .hdr with .img): the grid from the header, and the voxel values."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ildfv.errors import InputError
from ildfv.scans.geometry import Geometry, checked, tolerance
from ildfv.scans.libraries import format_error
from ildfv.scans.volume import as_hounsfield, check_data_size, check_size

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])


def nifti_data_file(path: Path) -> Path:
    """The file with the voxels: the file itself, or the .img or .img.gz of a .hdr. Raises `InputError` without it."""
    if path.suffix.lower() != ".hdr":
        return path
    names = {path.stem.lower() + suffix for suffix in (".img", ".img.gz")}
    found = sorted(other for other in path.parent.iterdir() if other.name.lower() in names)
    if len(found) != 1:
        raise InputError(f"{path.name} must have one data file in its folder, {path.stem}.img, got {len(found)}")
    return found[0]


def nifti_geometry(path: Path) -> Geometry:
    """The grid declared by the header, axes as stored. No voxel is read.

    The affine is the sform, or the qform if there is no sform. Raises `InputError` if there is neither, if the two
    disagree, if the unit is not mm, or if the header is otherwise invalid or declares more than the file can contain.
    """
    return _grid(path, _open(path))


def nifti_values(path: Path) -> np.ndarray:
    """The voxel values, axes as stored, with scl_slope and scl_inter applied.

    As the NIfTI standard defines, a slope of 0 or NaN means that values are not scaled. Raises `InputError` if the
    values cannot be read, and as `nifti_geometry`.
    """
    image = _open(path)
    grid = _grid(path, image)
    try:
        stored = image.dataobj.get_unscaled()
    except Exception as error:  # truncated or corrupt: nibabel, gzip and zlib raise different exceptions
        raise InputError(f"{path.name}: voxels must be readable, got {format_error(error)}") from error
    stored = stored.reshape(grid.shape)
    slope, intercept = float(image.dataobj.slope), float(image.dataobj.inter)
    return stored if (slope, intercept) == (1.0, 0.0) else as_hounsfield(stored, slope, intercept)


def nifti_slices(path: Path) -> tuple[Geometry, Iterator[np.ndarray]]:
    """The grid as in `nifti_geometry`, and the values of each slice along the last stored axis, (x, y), as stored.

    Only one slice is in memory. For a file with scaling, the iterator is empty. It raises EOFError for a truncated file
    and the errors of the libraries.
    """
    image = _open(path)
    grid = _grid(path, image)
    scaled = (float(image.dataobj.slope), float(image.dataobj.inter)) != (1.0, 0.0)
    return grid, iter(()) if scaled else _slices(path, image, grid)


def _slices(path: Path, image, grid: Geometry) -> Iterator[np.ndarray]:
    from nibabel.openers import ImageOpener

    *plane, m = grid.shape
    dtype, size = image.dataobj.dtype, int(np.prod(plane)) * image.dataobj.dtype.itemsize
    with ImageOpener(str(nifti_data_file(path))) as file:
        file.seek(image.dataobj.offset)
        for _ in range(m):
            data = file.read(size)
            if len(data) < size:
                raise EOFError(f"{path.name} must contain all voxels, got a truncated file")
            yield np.frombuffer(data, dtype).reshape(plane, order="F")


def _open(path: Path):
    """The image, in the format that its magic bytes name. nibabel.load uses the suffix and rejects ".Nii.Gz"."""
    from nibabel import Nifti1Image, Nifti1Pair, Nifti2Image, Nifti2Pair
    from nibabel.fileholders import FileHolder
    from nibabel.openers import ImageOpener

    single = {b"n+1\0": Nifti1Image, b"n+2\0": Nifti2Image}
    pairs = {b"ni1\0": Nifti1Pair, b"ni2\0": Nifti2Pair}
    data_file = nifti_data_file(path)
    try:
        with ImageOpener(str(path)) as file:
            start = file.read(348)
        magic = start[4:8] if start[4:8] in (b"n+2\0", b"ni2\0") else start[344:348]
        if data_file != path and magic in pairs:
            holders = {"header": FileHolder(str(path)), "image": FileHolder(str(data_file))}
            return pairs[magic].from_file_map(holders, mmap=False)
        if data_file != path and int.from_bytes(start[:4], "little") == 348:
            raise InputError(
                f"{path.name} must be NIfTI, got Analyze, in which left and right are ambiguous: convert it to NIfTI"
            )
        if magic not in single:
            raise InputError(f"{path.name} must be NIfTI, got other magic bytes")
        return single[magic].from_file_map({"image": FileHolder(str(path))}, mmap=False)
    except InputError:
        raise
    except Exception as error:  # the parser can raise any exception for a corrupt header
        raise InputError(f"{path.name} must be NIfTI, got {format_error(error)}") from error


def _grid(path: Path, image) -> Geometry:
    try:
        return _checked_grid(path, image)
    except InputError:
        raise
    except Exception as error:  # invalid codes or quaternions
        raise InputError(f"{path.name} must be NIfTI, got {format_error(error)}") from error


def _checked_grid(path: Path, image) -> Geometry:
    header, shape = image.header, tuple(int(n) for n in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        raise InputError(f"{path.name} must contain one volume with 3 axes, got shape {shape}")
    dtype = header.get_data_dtype()
    if dtype.kind not in "iuf":
        raise InputError(f"{path.name} must contain integers or floats, got {dtype}")
    check_size(shape, dtype.itemsize)
    declared = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    data_file = nifti_data_file(path)
    compressed = data_file.suffix.lower() == ".gz"
    check_data_size(data_file, declared, data_file.stat().st_size, compressed=compressed)
    if (unit := header.get_xyzt_units()[0]) not in ("mm", "unknown"):
        raise InputError(f"{path.name} must be in mm, got {unit}")
    sform, qform = header.get_sform(coded=True)[0], header.get_qform(coded=True)[0]
    if sform is None and qform is None:
        raise InputError(f"{path.name} must have an affine (sform_code or qform_code above 0), got neither")
    if sform is not None and qform is not None:
        corner = np.array([*(n - 1 for n in shape), 1])
        apart = max(np.abs(sform[:3, 3] - qform[:3, 3]).max(), np.abs((sform - qform) @ corner).max())
        allowed = tolerance(float(np.linalg.norm(sform[:3, :3], axis=0).min()))
        if not apart <= allowed:
            raise InputError(f"{path.name}: sform and qform must agree within {allowed:.2g} mm, got {apart:.3g} mm")
    affine = sform if sform is not None else qform
    return checked(shape, RAS_TO_LPS @ affine[:3, 3], (RAS_TO_LPS @ affine[:3, :3]).T)
