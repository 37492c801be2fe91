"""Volume files (NIfTI, NRRD, MetaImage): format detection, and reading as scans or as label maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ildfv.errors import InputError
from ildfv.scans.geometry import MAX_RESAMPLED_TILT, MAX_TILT, Geometry, reordered, to_canonical
from ildfv.scans.metaimage import metaimage_data_file, metaimage_geometry, metaimage_values
from ildfv.scans.nifti import nifti_data_file, nifti_geometry, nifti_values
from ildfv.scans.nrrdfile import nrrd_geometry, nrrd_header, nrrd_values
from ildfv.scans.slicer import SlicerSegment, slicer_header
from ildfv.scans.volume import Volume, as_hounsfield, canonical_volume


class Format(NamedTuple):
    """How a format is recognised and read."""

    suffixes: tuple[str, ...]
    geometry: Callable[[Path], Geometry]  # axes as stored
    values: Callable[[Path], np.ndarray]  # axes as stored
    data_file: Callable[[Path], Path]  # the file with the voxels, which may be the file itself


FORMATS = {
    "nifti": Format((".nii", ".nii.gz", ".hdr"), nifti_geometry, nifti_values, nifti_data_file),
    "nrrd": Format((".nrrd", ".nhdr"), nrrd_geometry, nrrd_values, lambda path: nrrd_header(path).data_file),
    "metaimage": Format((".mha", ".mhd"), metaimage_geometry, metaimage_values, metaimage_data_file),
}
SUFFIXES = tuple(suffix for known in FORMATS.values() for suffix in known.suffixes)
MAGIC_1, MAGIC_2 = (b"n+1\0", b"ni1\0"), (b"n+2\0", b"ni2\0")  # magic bytes of NIfTI-1 and NIfTI-2


def format_of(path: Path, start: bytes) -> str | None:
    """The format of a file in `FORMATS`, or None, from its name and its first 512 bytes."""
    name = path.name.lower()
    if start.startswith(b"NRRD"):
        return "nrrd"
    if start[344:348] in MAGIC_1 or start[4:8] in MAGIC_2:
        return "nifti"
    return next((kind for kind, known in FORMATS.items() if name.endswith(known.suffixes)), None)


def file_geometry(path: Path, kind: str) -> Geometry:
    """The canonical grid of the file, from the header alone.

    Raises the errors of the format's `geometry`, and `InputError` for a tilt above `MAX_RESAMPLED_TILT`.
    """
    return to_canonical(FORMATS[kind].geometry(path), MAX_RESAMPLED_TILT)[2]


def label_header(path: Path, kind: str) -> tuple[Geometry, tuple[SlicerSegment, ...]]:
    """The canonical grid of a label map, and its segments if it is a segmentation of 3D Slicer."""
    if kind == "nrrd":
        grid, segments = slicer_header(path)
        if segments:
            return grid, segments
    return file_geometry(path, kind), ()


def files_of(path: Path, kind: str) -> tuple[Path, ...]:
    """The files of a volume: the file itself, and the file with its voxels if the header is detached."""
    data_file = FORMATS[kind].data_file(path)
    return (path,) if data_file == path else (path, data_file)


def read_file(path: Path, kind: str, *, patient_id: str, series_id: str, max_tilt: float = MAX_TILT) -> Volume:
    """The file as a scan in Hounsfield units. Raises the errors of the format and of `canonical_volume`."""
    values = FORMATS[kind].values(path)
    grid = FORMATS[kind].geometry(path)
    if values.dtype != np.int16:
        _check_finite(values)
        values = as_hounsfield(values, 1.0, 0.0)
    return replace(canonical_volume(values, grid, patient_id, series_id, path, max_tilt=max_tilt), stored=grid)


def read_label_file(path: Path, kind: str) -> np.ndarray:
    """The values of the file as a label map in canonical order (z, y, x), with any scaling of the file applied."""
    order, flips, _ = to_canonical(FORMATS[kind].geometry(path), MAX_RESAMPLED_TILT)
    return np.ascontiguousarray(reordered(FORMATS[kind].values(path), order, flips))


def _check_finite(values: np.ndarray) -> None:
    if values.dtype.kind == "f" and (bad := values.size - np.count_nonzero(np.isfinite(values))):
        raise InputError(f"HU must be finite, got NaN or infinity (voxels: {bad:,})")
