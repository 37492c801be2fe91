"""Contribution, Grad-CAM and occlusion maps of a prediction: NIfTI files read into small quantised maps.

The maps of a scan of 600 slices take 630 MB per pattern as float32. They are averaged to about 256×256, smoothed like
the pictures of the prediction's page, and quantised to 8 bits. They are read slice by slice if the slices are along the
last axis of the file, otherwise as a whole.
"""

from __future__ import annotations

import gzip
import threading
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from ildfv.counted import counted
from ildfv.errors import InputError, check
from ildfv.inference.outputs import LAST, RAS
from ildfv.inference.page import CLIP, SMOOTHING
from ildfv.scans.geometry import MAX_RESAMPLED_TILT, Geometry, checked, reordered, to_canonical
from ildfv.scans.libraries import format_error, quiet
from ildfv.scans.windows import SIZE

SIDE = 256  # approximate maximum side of a map, pixels; more adds no detail, because the network's input has 224
SAMPLE = 8  # every 8th row and column of a slice determines the scale
LEVELS = 127  # largest absolute value of a quantised map
KINDS = {
    "contributions": "Contributions to the score",
    "cam": "Class activation map (Grad-CAM)",
    "occlusion": "Occlusion: decrease of the score if the location is occluded",
}
UNITS = {
    "contributions": "score per cm²",
    "cam": "activation × gradient per cm²",
    "occlusion": "score",  # the mean over the squares that cover a pixel, which does not depend on the area of a pixel
}


class Quantiser:
    """Collects the maps of all slices of a scan, and quantises them to 8 bits with a common scale."""

    def __init__(self) -> None:
        self._slices: list[bytes] = []
        self._peaks: list[float] = []
        self._sample: list[np.ndarray] = []

    def add(self, plane: np.ndarray) -> None:
        """Adds the map of the next slice, float32 (rows, columns)."""
        peak = float(np.abs(plane).max()) or 1.0
        # Stored with 16 bits and a scale for each slice, until the scale of the whole scan is known.
        self._slices.append(zlib.compress(np.round(plane * (32767 / peak)).astype(np.int16).tobytes(), 1))
        self._peaks.append(peak)
        self._sample.append(np.abs(plane[::SAMPLE, ::SAMPLE]).ravel())

    def finish(self) -> tuple[float, list[bytes]]:
        """The value that is quantised to `LEVELS`, and the map of each slice as compressed int8."""
        scale = float(np.percentile(np.concatenate(self._sample), CLIP))
        for z, (stored, peak) in enumerate(zip(self._slices, self._peaks, strict=True)):
            values = np.frombuffer(zlib.decompress(stored), np.int16) * np.float32(peak / 32767)
            levels = np.clip(np.round(values * (LEVELS / scale)), -LEVELS, LEVELS) if scale > 0 else values * 0
            self._slices[z] = zlib.compress(levels.astype(np.int8).tobytes(), 1)
        return scale, self._slices


class MapFile:
    """The maps of one pattern, written by `ildfv predict`. The first call of `describe` or `read` reads the file.

    path: <pattern>-<kind>.nii.gz. pattern: index of the pattern. shape: slices, rows, columns of the scan. pixel: side
    of a pixel of the scan, mm. head: the head whose score the map explains, "" if unknown.
    """

    def __init__(self, path: Path, kind: str, pattern: int, shape: tuple[int, int, int], pixel: float, head: str = ""):
        self.path, self.kind, self.pattern, self.shape, self.pixel = path, kind, pattern, shape, pixel
        self.unit, self.title = UNITS[kind], KINDS[kind] + (f" of {head}" if head else "")
        self.step = max(1, round(max(shape[1:]) / SIDE))
        self._scale, self._slices = 0.0, []  # type: tuple[float, list[bytes]]
        self._lock = threading.Lock()

    def describe(self) -> dict[str, Any]:
        """The grid of the maps and the value drawn in full colour. InputError: as `slices_of`."""
        self._load()
        rows, columns = self._grid
        return {"rows": rows, "columns": columns, "step": self.step, "scale": self._scale}

    def read(self, z: int) -> np.ndarray:
        """The map of slice z, int8. InputError: as `slices_of`."""
        self._load()
        return np.frombuffer(zlib.decompress(self._slices[z]), np.int8).reshape(self._grid)

    @property
    def _grid(self) -> tuple[int, int]:
        rows, columns = (-(-n // self.step) for n in self.shape[1:])
        return rows, columns

    def _load(self) -> None:
        with self._lock:
            if self._slices:
                return
            maps, order = Quantiser(), []
            for z, plane in self._planes():
                order.append(z)
                maps.add(plane)
            self._scale, slices = maps.finish()
            self._slices = [slices[i] for i in np.argsort(order)]

    def _planes(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yields (z, map of slice z averaged over blocks and smoothed, in the unit of the map, float32)."""
        _, rows, columns = self.shape
        k, (h, w) = self.step, self._grid
        sigma = SMOOTHING * max(rows, columns) / SIZE / k
        per_cm2 = 1.0 if self.kind == "occlusion" else 100 / self.pixel**2
        for z, values in slices_of(self.path, self.shape):
            padded = np.zeros((h * k, w * k), np.float32)
            padded[:rows, :columns] = values
            means = padded.reshape(h, k, w, k).mean(axis=(1, 3))
            yield z, ndimage.gaussian_filter(means, sigma) * np.float32(per_cm2)


def slices_of(path: Path, shape: tuple[int, int, int]) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (z, slice z (rows, columns)) of a float32 volume that `inference.outputs.write_map` wrote.

    Slices are counted from the feet and come in the order of the file. shape: slices, rows, columns.

    InputError: the file is missing, damaged or scaled, or its axes, shape, data type or values are invalid.
    """
    import nibabel

    m, rows, columns = shape
    try:
        with quiet():
            image: Any = nibabel.load(path)
            found, kind, offset = image.shape, image.header.get_data_dtype(), int(image.dataobj.offset)
        order, flips, grid = _canonical(path, image)
        slope, intercept = image.dataobj.slope, image.dataobj.inter
        check(
            grid.shape == shape and kind == np.float32,
            f"{path.name} must be float32 with {counted(m, 'slice')} of {rows} × {columns} pixels, as "
            f"`ildfv predict` writes it, got {kind} with "
            f"{counted(grid.shape[0], 'slice')} of {grid.shape[1]} × {grid.shape[2]} pixels",
        )
        check(
            (slope, intercept) == (1.0, 0.0),
            f"{path.name} must not be scaled, got slope {slope:g} and intercept {intercept:g}",
        )
        every = range(m - 1, -1, -1) if 0 in flips else range(m)
        parts = [[z] for z in every] if order[0] == LAST else [list(range(m))]
        with gzip.open(path) as file:
            file.read(offset)
            for part in parts:
                size = 4 * rows * columns * len(part)
                data = file.read(size)
                check(len(data) == size, f"{path.name} must be complete, got a truncated file")
                values = np.frombuffer(data, kind)
                check(bool(np.isfinite(values).all()), f"{path.name} must be finite, got NaN or infinity")
                stored = (*found[:LAST], len(part)) if order[0] == LAST else found
                yield from zip(part, reordered(values.reshape(stored, order="F"), order, flips), strict=True)
    except InputError:
        raise
    except Exception as error:  # nibabel, gzip and zlib raise different exceptions for damaged files
        raise InputError(f"{path.name} must be a readable map, got {format_error(error)}") from error


def _canonical(path: Path, image: Any) -> tuple[tuple[int, ...], tuple[int, ...], Geometry]:
    """The result of `to_canonical` for the grid of a NIfTI image."""
    check(len(image.shape) == LAST + 1, f"{path.name} must have 3 axes, got {len(image.shape)}")
    affine = np.asarray(image.affine, np.float64)
    try:
        grid = checked(image.shape, RAS @ affine[:3, 3], (RAS @ affine[:3, :3]).T)
        return to_canonical(grid, MAX_RESAMPLED_TILT)
    except InputError as error:
        raise InputError(f"{path.name}: {error}") from error


def maps_in(
    folder: Path, patterns: Sequence[str], shape: tuple[int, int, int], pixel: float, explained: str = ""
) -> list[MapFile]:
    """The maps in the folder of a prediction, in the order of kinds and patterns.

    explained: the head whose scores the contributions add up to, "" if unknown.
    """
    heads = {"contributions": explained}
    return [
        MapFile(path, kind, c, shape, pixel, heads.get(kind, ""))
        for kind in KINDS
        for c, pattern in enumerate(patterns)
        if (path := folder / f"{pattern.replace(' ', '-')}-{kind}.nii.gz").is_file()
    ]
