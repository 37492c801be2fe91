"""Volumes on the grid of a scan's prepared slices, as NIfTI files.

The size of a voxel in mm is computed from the pixel area and the positions of the slices. Prepared slices do not store
the origin, the patient axes, or the grid of scans that are not 512×512. The affine matrix therefore assumes a 512×512
grid whose row indices increase posteriorly and whose column indices increase to the patient's left.
"""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np

from ildfv.scans.windows import GRID, NORMAL, SIZE, WINDOWS
from ildfv.store.atomic import replacing


def slice_affine(pixel_area: float, positions: np.ndarray) -> np.ndarray:
    """The affine matrix from (column, row, slice) to RAS+ coordinates in mm, (4, 4).

    pixel_area: area of a pixel of a 512×512 grid, mm². positions: positions of the slices along the slice normal,
    mm, (m,), in slice order.
    """
    side = float(np.sqrt(pixel_area)) * GRID / SIZE
    steps = np.diff(np.asarray(positions).astype(float))
    apart = float(np.median(steps)) if len(steps) else 1.0
    affine = np.diag([-side, -side, apart, 1.0])
    affine[2, 3] = float(positions[0])
    return affine


def write_volume(path: Path, volume: np.ndarray, affine: np.ndarray, description: str = "") -> None:
    """Writes slices (m, rows, columns) to a .nii.gz file, atomically.

    affine: as returned by `slice_affine`. description: text for the header, at most 79 bytes.
    """
    image = nibabel.Nifti1Image(np.ascontiguousarray(volume.transpose(2, 1, 0)), affine)
    image.set_qform(affine, code="scanner")  # viewers that do not read the sform see the same grid
    image.set_sform(affine, code="scanner")
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = description
    with replacing(path) as temporary:
        nibabel.save(image, temporary)


def read_volume(path: Path) -> np.ndarray:
    """The slices of a file that `write_volume` wrote, (m, rows, columns)."""
    return np.asarray(nibabel.load(path).dataobj).transpose(2, 1, 0)  # type: ignore[attr-defined]


def hounsfield(images: np.ndarray) -> np.ndarray:
    """The HU of prepared slices uint8 (m, 3, 224, 224), from their normal window, int16 (m, 224, 224).

    The values are clipped to the window, −1400 to 200 HU, and have steps of 6 HU.
    """
    low, high = WINDOWS[NORMAL]
    return np.round(low + images[:, NORMAL].astype(np.float32) * ((high - low) / 255)).astype(np.int16)
