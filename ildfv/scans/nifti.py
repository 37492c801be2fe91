"""NIfTI-1 and NIfTI-2 volumes, .nii and .nii.gz: the grid from the header alone, and the voxel values."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ildfv.errors import InputError
from ildfv.scans.geometry import Geometry, checked
from ildfv.scans.libraries import format_error
from ildfv.scans.volume import MAX_GZIP_RATIO, as_hounsfield, check_size

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])
AFFINE_TOLERANCE = 0.1  # mm between the corners given by sform and qform


def nifti_geometry(path: Path) -> Geometry:
    """The grid declared by the header, axes as stored. No voxel is read.

    The affine is the sform, or the qform if there is no sform. Raises `InputError` if there is neither, or if the two
    disagree.
    """
    return _grid(path, _open(path))


def nifti_values(path: Path) -> np.ndarray:
    """The voxel values, axes as stored, with scl_slope and scl_inter applied.

    As the NIfTI standard defines, a slope of 0 or NaN means that values are not scaled.
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


def _open(path: Path):
    """The image by its magic bytes: nibabel.load goes by the suffix and does not find ".Nii" or ".Nii.Gz"."""
    from nibabel import Nifti1Image, Nifti2Image
    from nibabel.fileholders import FileHolder
    from nibabel.openers import ImageOpener

    try:
        with ImageOpener(str(path)) as file:
            start = file.read(348)
        kinds = {start[344:348]: Nifti1Image, start[4:8]: Nifti2Image}
        kind = next((kinds[magic] for magic in (b"n+1\0", b"n+2\0") if magic in kinds), None)
        if kind is None:
            raise InputError(f"{path.name} must be NIfTI in one file, got other magic bytes")
        return kind.from_file_map({"image": FileHolder(str(path))}, mmap=False)
    except InputError:
        raise
    except Exception as error:  # a corrupt header can raise anything in the parser
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
    size = path.stat().st_size
    limit = size * MAX_GZIP_RATIO if path.suffix.lower() == ".gz" else size
    if declared > limit:
        raise InputError(
            f"{path.name} must contain {declared:,} bytes of voxels, got a file of {size:,} bytes (truncated?)"
        )
    if (unit := header.get_xyzt_units()[0]) not in ("mm", "unknown"):
        raise InputError(f"{path.name} must be in mm, got {unit}")
    sform, qform = header.get_sform(coded=True)[0], header.get_qform(coded=True)[0]
    if sform is None and qform is None:
        raise InputError(f"{path.name} must have an affine (sform_code or qform_code above 0), got neither")
    if sform is not None and qform is not None:
        corner = np.array([*(n - 1 for n in shape), 1])
        apart = max(np.abs(sform[:3, 3] - qform[:3, 3]).max(), np.abs((sform - qform) @ corner).max())
        if not apart <= AFFINE_TOLERANCE:
            raise InputError(
                f"{path.name}: sform and qform must agree within {AFFINE_TOLERANCE} mm, got {apart:.3g} mm"
            )
    affine = sform if sform is not None else qform
    return checked(shape, RAS_TO_LPS @ affine[:3, 3], (RAS_TO_LPS @ affine[:3, :3]).T)
