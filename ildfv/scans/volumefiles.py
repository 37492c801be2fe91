"""Volumes in one file, NIfTI or NRRD: format detection, and reading as scans or as label maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ildfv.errors import InputError
from ildfv.scans.geometry import Geometry, reordered, to_canonical
from ildfv.scans.nifti import nifti_geometry, nifti_values
from ildfv.scans.nrrdfile import nrrd_geometry, nrrd_values
from ildfv.scans.volume import Volume, as_hounsfield, canonical_volume


def format_of(path: Path, start: bytes) -> str | None:
    """ "nifti", "nrrd" or None, from a file's name and its first 512 bytes."""
    name = path.name.lower()
    if start.startswith(b"NRRD"):
        return "nrrd"
    if name.endswith((".nii", ".nii.gz")) or start[344:348] == b"n+1\0" or start[4:8] == b"n+2\0":
        return "nifti"
    return "nrrd" if name.endswith(".nrrd") else None


def file_geometry(path: Path, kind: str) -> Geometry:
    """The canonical grid of the file, from the header alone."""
    return to_canonical(_geometry(path, kind))[2]


def read_file(path: Path, kind: str, *, patient_id: str, series_id: str) -> Volume:
    """The file as a scan in Hounsfield units."""
    values = _values(path, kind)
    grid = _geometry(path, kind)
    if values.dtype != np.int16:
        _check_finite(values)
        values = as_hounsfield(values, 1.0, 0.0)
    return canonical_volume(values, grid, patient_id, series_id, path)


def read_label_file(path: Path, kind: str) -> np.ndarray:
    """The values of the file as a label map in canonical order (z, y, x), with the dtype of the file."""
    order, flips, _ = to_canonical(_geometry(path, kind))
    return np.ascontiguousarray(reordered(_values(path, kind), order, flips))


def _geometry(path: Path, kind: str) -> Geometry:
    return (nifti_geometry if kind == "nifti" else nrrd_geometry)(path)


def _values(path: Path, kind: str) -> np.ndarray:
    return (nifti_values if kind == "nifti" else nrrd_values)(path)


def _check_finite(values: np.ndarray) -> None:
    if values.dtype.kind == "f" and (bad := values.size - np.count_nonzero(np.isfinite(values))):
        raise InputError(f"HU must be finite, got {bad:,} NaN or infinite voxels")
