"""The files of a prediction: JSON, CSV, a page, PNGs and NIfTI maps on the scan's own grid."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np

from ildfv.inference.page import evidence_scale, overlay, png, prediction_page
from ildfv.inference.prediction import Prediction
from ildfv.scans.geometry import Geometry
from ildfv.scans.windows import NORMAL, SIZE
from ildfv.store.atomic import replacing, write_bytes

ANSWER = "prediction.json"  # written last: a folder without it is unfinished
RAS = np.diag(
    [-1.0, -1.0, 1.0]
)  # DICOM's patient axes (left, posterior, superior) → NIfTI's (right, anterior, superior)


def write_prediction(folder: Path, prediction: Prediction) -> Path:
    """Writes all files and returns the path of prediction.json."""
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / "slices.csv", prediction.to_csv().encode())
    write_bytes(folder / "prediction.html", prediction_page(prediction).encode())
    if prediction.contributions is not None:
        for c, pattern in enumerate(prediction.patterns):
            maps, name = prediction.contributions[:, c], pattern.replace(" ", "-")
            z = int(prediction.head.best[c])
            picture = overlay(prediction.images[z, NORMAL], maps[z], evidence_scale(maps))
            write_bytes(folder / f"{name}-slice-{z + 1}.png", png(picture))
            write_map(folder / f"{name}-contributions.nii.gz", maps, prediction.geometry)
    path = folder / ANSWER
    write_bytes(path, prediction.to_json().encode())
    return path


def to_scan_grid(planes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Planes (m, 224, 224) on the pixels of the scan, (m, rows, columns), divided by area: sums are kept.

    The 224×224 input covers the square around the scan (`scans.windows.windowed`); values in its padding, if the scan
    is not square, are discarded.
    """
    side = max(shape)
    rows, columns = (_shares(n, side) for n in shape)
    return rows @ planes @ columns.T


def _shares(n: int, side: int) -> np.ndarray:
    """The fraction of each of the 224 input pixels that overlaps each of the scan's n pixels on an axis, (n, 224)."""
    start = (np.arange(n) + (side - n) // 2)[:, None] * SIZE / side  # of the scan's pixels, in input pixels
    edges = np.arange(SIZE)
    overlap = np.minimum(start + SIZE / side, edges + 1) - np.maximum(start, edges)
    return np.clip(overlap, 0, None)


def write_map(path: Path, planes: np.ndarray, geometry: Geometry) -> None:
    """Contribution maps as a float32 NIfTI volume on the scan's grid; square slices sum to score − offset."""
    volume = to_scan_grid(planes, (geometry.shape[1], geometry.shape[2])).astype(np.float32)
    affine = np.eye(4)
    affine[:3, :3] = RAS @ geometry.steps[::-1].T  # columns x, y, z
    affine[:3, 3] = RAS @ geometry.origin
    image = nibabel.Nifti1Image(np.ascontiguousarray(volume.transpose(2, 1, 0)), affine)
    image.set_qform(affine, code="scanner")
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = "ildfv contribution map, research use only"
    with replacing(path) as temporary:
        nibabel.save(image, temporary)
