"""The files of a prediction: JSON, CSV, an HTML page, PNG images, and NIfTI maps on the scan's own grid."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from ildfv.inference.cnn_methods import METHODS
from ildfv.inference.page import evidence_scale, overlay, prediction_page
from ildfv.inference.png import png
from ildfv.inference.prediction import ANSWER, Prediction
from ildfv.scans.geometry import MAX_RESAMPLED_TILT, Geometry, as_stored, to_canonical
from ildfv.scans.pixel_size import Field
from ildfv.scans.windows import NORMAL, SIZE
from ildfv.store.atomic import replacing, sweep, write_bytes
from ildfv.streaming.threads import in_order, split_cores

KINDS = ("contributions", *(one.file for one in METHODS.values()))
OF_PATTERNS = ("*-slice-*.png", *(f"*-{kind}.{end}" for kind in KINDS for end in ("nii.gz", "tiff")))
# Converts coordinates on DICOM's patient axes (left, posterior, superior) to NIfTI's (right, anterior, superior).
RAS = np.diag([-1.0, -1.0, 1.0])
KEPT_BITS = 12  # of the 23 mantissa bits: the error is 0.01 %, and the files have half the size
COMPRESSION = 1  # the fastest level of gzip; the last bits of maps are mostly noise, so higher levels gain little
LAST = 2  # the axis of a NIfTI array that varies slowest in the file
DESCRIPTION = 79  # maximum number of bytes of a NIfTI description


def write_prediction(folder: Path, prediction: Prediction) -> Path:
    """Writes all files and returns the path of prediction.json. Files of an earlier prediction are removed first.

    The caller must hold the lock of the folder, if other processes may write to it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    for pattern in (ANSWER, *OF_PATTERNS):  # file names contain patterns and slices, which may have changed
        for path in folder.glob(pattern):
            path.unlink()
    write_bytes(folder / "slices.csv", prediction.to_csv().encode())
    write_bytes(folder / "prediction.html", prediction_page(prediction).encode())
    if prediction.contributions is not None:
        _write_maps(
            folder, prediction, prediction.contributions, prediction.contributions_head, "contributions", "slice"
        )
    method = prediction.cnn_method
    if prediction.cnn_maps is not None and method is not None:
        kind, head = method.file, prediction.cnn_maps_head
        _write_maps(folder, prediction, prediction.cnn_maps, head, kind, f"{kind}-slice", per_area=method.per_area)
    path = folder / ANSWER
    write_bytes(path, prediction.to_json().encode())
    return path


def _write_maps(
    folder: Path,
    prediction: Prediction,
    maps: np.ndarray,
    head: str | None,
    kind: str,
    picture: str,
    *,
    per_area: bool = True,
) -> None:
    """Writes PATTERN-<kind>.nii.gz, and PATTERN-<picture>-N.png for the slice N with the head's highest score.

    For an image, the map is PATTERN-<kind>.tiff.

    per_area: see `write_map`.
    """
    assert head is not None
    best, labelled = prediction.heads[head].best, prediction.heads[head].labelled

    def write(c: int) -> None:
        name, z = prediction.patterns[c].replace(" ", "-"), int(best[c])
        image = overlay(prediction.images[z, NORMAL], maps[z, c], evidence_scale(maps[:, c]))
        write_bytes(folder / f"{name}-{picture}-{z + 1}.png", png(image, prediction.stamp))
        if not prediction.has_size:
            write_image_map(folder / f"{name}-{kind}.tiff", maps[0, c], prediction.shape, per_area=per_area)
            return
        path = folder / f"{name}-{kind}.nii.gz"
        description = f"{prediction.stamp}, research use only"
        write_map(
            path,
            maps[:, c],
            prediction.geometry,
            description,
            field=prediction.field,
            stored=prediction.stored,
            kind=kind,
            per_area=per_area,
        )

    for _ in in_order(write, np.flatnonzero(labelled).tolist(), workers=split_cores()[0]):
        pass


def to_scan_grid(planes: np.ndarray, shape: tuple[int, int], field: Field | None = None) -> np.ndarray:
    """Planes (m, 224, 224) on the grid of the scan, (m, rows, columns).

    The value of each pixel is distributed by area over the pixels of the scan, so sums are preserved. The 224×224 input
    covers the square around the scan (`scans.windows.windowed`), or the common grid `field`. Values beyond the scan are
    discarded.
    """
    rows, columns = _shares_of(shape, planes.dtype, field)
    return np.stack([_placed(plane, rows, columns) for plane in planes])


def _shares_of(shape: tuple[int, int], dtype, field: Field | None) -> tuple[csr_array, csr_array]:
    squares = squares_of(shape, field)
    rows, columns = (csr_array(_shares(n, *square).astype(dtype)) for n, square in zip(shape, squares, strict=True))
    return rows, columns


def squares_of(shape: tuple[int, int], field: Field | None) -> list[tuple[float, float]]:
    """For each axis, (side of the square that prepared slices show, start of the scan in it), in scan pixels."""
    if field is not None:
        return [(axis.side, axis.start) for axis in (field.rows, field.columns)]
    side = max(shape)
    return [(side, (side - n) // 2) for n in shape]


def _placed(plane: np.ndarray, rows: csr_array, columns: csr_array) -> np.ndarray:
    return (columns @ (rows @ plane).T).T


def _shares(n: int, side: float, begin: float) -> np.ndarray:
    """Along one axis, the fraction of each of 224 input pixels that overlaps each of n pixels of the scan, (n, 224)."""
    start = (np.arange(n) + begin)[:, None] * SIZE / side  # starts of the scan's pixels, in input pixels
    edges = np.arange(SIZE)
    overlap = np.minimum(start + SIZE / side, edges + 1) - np.maximum(start, edges)
    return np.clip(overlap, 0, None)


def _means(shares: csr_array) -> csr_array:
    """The shares of each pixel of the scan, divided by their sum; a pixel outside the maps remains 0."""
    sums = np.asarray(shares.sum(axis=1))
    return csr_array(shares.multiply(np.divide(1, sums, out=np.zeros_like(sums), where=sums > 0)[:, None]))


def write_map(
    path: Path,
    planes: np.ndarray,
    geometry: Geometry,
    description: str = "",
    *,
    field: Field | None = None,
    stored: Geometry | None = None,
    kind: str = "contributions",
    per_area: bool = True,
) -> None:
    """Writes maps (m, 224, 224) as a float32 NIfTI volume on the scan's grid.

    geometry: the canonical grid. field: the common grid that the maps show, if slices were resampled to it. stored: the
    grid of a volume file, whose axes and affine the volume gets; None: axes to the left, back and head. kind: the
    intent name in the header. per_area: whether the sum of a map over the scan is preserved, as contributions require;
    otherwise, the value of a voxel is a mean of values of the map. A volume of 300 slices takes 300 MB. It is therefore
    written slice by slice if the slices are along the file's last axis.
    """
    import nibabel  # imported here because predictions without maps do not need it

    m, n_rows, n_columns = geometry.shape
    if stored is None:
        stored = Geometry(geometry.shape[::-1], geometry.origin, geometry.steps[::-1])
    order, flips, _ = to_canonical(stored, MAX_RESAMPLED_TILT)
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.float32)
    header.set_data_shape(stored.shape)
    affine = np.eye(4)
    affine[:3, :3] = RAS @ stored.steps.T
    affine[:3, 3] = RAS @ stored.origin
    header.set_qform(affine, code="scanner")
    header.set_sform(affine, code="scanner")
    header.set_xyzt_units("mm")
    header["descrip"] = description.encode()[:DESCRIPTION]
    header["intent_name"] = kind.encode()
    header["magic"], header["vox_offset"] = b"n+1", 352
    rows, columns = _shares_of((n_rows, n_columns), np.float64, field)
    if not per_area:
        rows, columns = _means(rows), _means(columns)
    with (
        replacing(path) as temporary,
        temporary.open("wb") as raw,
        gzip.GzipFile("", "wb", COMPRESSION, raw, mtime=0) as file,
    ):
        file.write(header.binaryblock + bytes(4))
        every = range(m - 1, -1, -1) if 0 in flips else range(m)
        for part in [[z] for z in every] if order[0] == LAST else [range(m)]:
            placed = np.stack([_placed(planes[z].astype(np.float64), rows, columns) for z in part])
            file.write(as_stored(_rounded(placed.astype(np.float32)), order, flips).tobytes(order="F"))


def write_image_map(path: Path, plane: np.ndarray, shape: tuple[int, int], *, per_area: bool = True) -> None:
    """Writes a map (224, 224) as a float32 TIFF on the pixels of an image. shape: its rows and columns.

    per_area: as for `write_map`.
    """
    from PIL import Image  # imported here because only predictions for images need it

    rows, columns = _shares_of(shape, np.float64, None)
    if not per_area:
        rows, columns = _means(rows), _means(columns)
    with replacing(path) as temporary:
        Image.fromarray(_placed(plane.astype(np.float64), rows, columns).astype(np.float32)).save(temporary, "TIFF")


def _rounded(values: np.ndarray) -> np.ndarray:
    """float32 values rounded to KEPT_BITS bits of the mantissa. The other bits are 0, which compresses well."""
    dropped = 23 - KEPT_BITS
    bits = np.ascontiguousarray(values).view(np.uint32) + np.uint32(1 << (dropped - 1))
    return (bits & np.uint32(0xFFFFFFFF << dropped & 0xFFFFFFFF)).view(np.float32)
