"""C++ loops over CT slices: windows, connected regions of lung and body, histograms, and look-up of label codes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ildfv.kernels import _native

# The input pixels that contribute to each output pixel along one axis: index, int64, and share, float32, each of shape
# (taps, size).
Taps = tuple[np.ndarray, np.ndarray]


def windowed(hu: np.ndarray, windows: Sequence[tuple[float, float]], rows: Taps, columns: Taps) -> np.ndarray:
    """Images uint8 (…, windows, size, size) of slices (…, h, w) in HU.

    windows: at most four, each (low, high) in HU. rows, columns: taps of the resizing to (size, size).
    """
    if hu.dtype not in (np.int16, np.float32):
        hu = hu.astype(np.float32)
    hu = np.ascontiguousarray(hu, hu.dtype.newbyteorder("="))
    levels = np.array([(low, high, 255.0 / (high - low)) for low, high in windows], np.float32).T.copy()
    size = rows[0].shape[1]
    out = np.empty((*hu.shape[:-2], len(windows), size, size), np.uint8)
    slices = hu.reshape(-1, *hu.shape[-2:]) if hu.size else hu.reshape(0, *hu.shape[-2:])
    for slice_, image in zip(slices, out.reshape(len(slices), len(windows), size, size), strict=True):
        _native.window_slice(slice_, levels, *rows, *columns, image)
    return out


def lung_regions(
    hu: np.ndarray, *, below: float, pixel_area: float, least_area: float, least_mean: float, at_border: bool = False
) -> tuple[np.ndarray, int]:
    """The mask, bool (rows, columns), of the connected regions that may be lung, and its number of pixels.

    A region consists of 4-connected pixels below `below` HU (a whole number). It must have at least `least_area` mm²
    and a mean above `least_mean` HU. The mask contains the regions that do not touch the border of the slice, with
    filled holes, or, with `at_border`, the regions that touch it. hu: (rows, columns). pixel_area: mm² per pixel.
    """
    hu = np.asarray(hu)
    hu = np.ascontiguousarray(hu, hu.dtype.newbyteorder("=") if hu.dtype in (np.int16, np.float32) else np.float64)
    mask = np.empty(hu.shape, np.uint8)
    pixels = _native.lung_regions(hu, below, pixel_area, least_area, least_mean, at_border, mask) if hu.size else 0
    return mask.view(bool), pixels


def eroded(mask: np.ndarray, times: int) -> np.ndarray:
    """The mask, bool (rows, columns), eroded `times` times by a pixel and its four neighbours; outside is False."""
    return _repeated(mask, times, grow=False)


def dilated(mask: np.ndarray, times: int) -> np.ndarray:
    """The mask, bool (rows, columns), dilated `times` times by a pixel and its four neighbours."""
    return _repeated(mask, times, grow=True)


def _repeated(mask: np.ndarray, times: int, *, grow: bool) -> np.ndarray:
    out = np.array(mask, bool, order="C")
    if out.size:
        _native.repeat_cross(out.view(np.uint8), times, grow)
    return out


def largest_region(mask: np.ndarray) -> np.ndarray:
    """The largest 4-connected region of a mask with its holes filled, bool (rows, columns).

    The result is all False if the mask is. Of several regions of the largest size, the one with the first pixel in
    row-major order is returned.
    """
    out = np.array(mask, bool, order="C")
    if out.size:
        _native.largest_region(out.view(np.uint8))
    return out


def histogram(values: np.ndarray, least: int, most: int, mask: np.ndarray | None = None) -> np.ndarray:
    """How often each integer in [least, most] occurs in `values`, int64 (most − least + 1,).

    values: uint8, uint16 or int16 of any shape, all of them in [least, most]. mask: bool of the same shape; if given,
    only values where it is True are counted.
    """
    counts = np.zeros(most - least + 1, np.int64)
    if values.size:
        where = () if mask is None else (np.ascontiguousarray(mask, bool).reshape(-1).view(np.uint8),)
        _native.count_values(np.ascontiguousarray(values).reshape(-1), least, counts, *where)
    return counts


def look_up(table: np.ndarray, values: np.ndarray) -> np.ndarray:
    """table[values], uint8 of the shape of `values`. table: has an entry for every value. values: uint8 or uint16."""
    out = np.empty(values.shape, np.uint8)
    if values.size:
        flat = np.ascontiguousarray(values).reshape(-1)
        _native.look_up(np.ascontiguousarray(table, np.uint8), flat, out.reshape(-1))
    return out


def translated(table: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """table[values], uint8 of the shape of `values`, and how often each result occurs, int64 (256,).

    table: uint8, with an entry for every value. values: uint8 or uint16.
    """
    out, counts = np.empty(values.shape, np.uint8), np.zeros(256, np.int64)
    if values.size:
        _native.translate(table, np.ascontiguousarray(values).reshape(-1), out.reshape(-1), counts)
    return out, counts
