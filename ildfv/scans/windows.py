"""Conversion of Hounsfield units to network input: three attenuation windows, [0, 255] each, at 224×224."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from array_api_compat import array_namespace, device

from ildfv.kernels import on_gpu, slices
from ildfv.kernels.cuda import build, windows

WINDOWS = ((-1400.0, -950.0), (-1400.0, 200.0), (-160.0, 240.0))  # HU: the paper's low, normal and high attenuation
NORMAL = 1  # index of the normal window
SIZE = 224  # pixels along a side of a prepared slice, the input of the paper's networks
GRID = 512  # pixels along a side of the paper's slices, to which its pixel thresholds refer


def paper_pixel_area(pixel_area, side):
    """mm² of a pixel of a 512×512 grid of the square around a slice, which the prepared slice shows.

    pixel_area: mm² of a pixel of the scan. side: its rows or columns, whichever are more. Numbers or arrays.
    """
    return pixel_area * (side / GRID) ** 2


def windowed(hu, size: int = SIZE):
    """The three windows of each slice, uint8 (…, 3, size, size), from HU (…, h, w); NumPy, CuPy or torch.

    Each window is clipped and mapped linearly to [0, 255] before resizing, so that a value above the window, such as a
    bright vessel, affects its neighbours no more than the upper limit of the window. Resizing averages over the area of
    each output pixel (antialiased; also for slices smaller than 224). A slice that is not square keeps its aspect
    ratio: it is centred in a square whose other pixels are 0 in every window, like padding of the scanner. Sums have a
    fixed order, so equal slices give equal bytes on every machine and with any number of threads.
    """
    h, w = hu.shape[-2:]
    side = max(h, w)
    if on_gpu(hu) and build.available():  # one kernel instead of about a hundred array operations, with equal bytes
        return windows.windowed(hu, WINDOWS, _taps(h, side, size), _taps(w, side, size))
    if isinstance(hu, np.ndarray):  # one C++ function, also with equal bytes
        return slices.windowed(hu, WINDOWS, _tables(h, side, size), _tables(w, side, size))
    return reference(hu, size)


def reference(hu, size: int = SIZE):
    """`windowed` in the array API. It is the specification of the C++ and CUDA versions, which give equal bytes."""
    h, w = hu.shape[-2:]
    side = max(h, w)
    xp = array_namespace(hu)
    hu = xp.astype(hu, xp.float32)
    channels = []
    for low, high in WINDOWS:
        window = (xp.clip(hu, low, high) - low) * (255.0 / (high - low))
        rows = _averaged(xp, window, _taps(h, side, size), axis=-2)
        channels.append(_averaged(xp, rows, _taps(w, side, size), axis=-1))
    return xp.astype(xp.floor(xp.stack(channels, axis=-3) + 0.5), xp.uint8)


def resized(values: np.ndarray, size: int = SIZE) -> np.ndarray:
    """Values (h, w) averaged over the area of each output pixel, float32 (size, size); 0 outside the slice."""
    h, w = values.shape
    side = max(h, w)
    rows = _averaged(np, values, _taps(h, side, size), axis=-2)
    return _averaged(np, rows, _taps(w, side, size), axis=-1)


def nearest(labels, size: int = SIZE):
    """Label maps by nearest neighbour, (…, size, size), aligned with `windowed`; 0 outside the slice."""
    xp = array_namespace(labels)
    h, w = labels.shape[-2:]
    side = max(h, w)
    for axis, n in ((-2, h), (-1, w)):
        index, inside = _centres(n, side, size)
        labels = xp.take(labels, xp.asarray(index, device=device(labels)), axis=axis)
        if not inside.all():
            keep = xp.asarray(inside[:, None] if axis == -2 else inside, device=device(labels))
            labels = labels * xp.astype(keep, labels.dtype)
    return labels


@lru_cache
def _centres(n: int, side: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """For each output pixel, the input pixel at its centre, (size,), and whether the slice contains it, (size,)."""
    index = np.floor((np.arange(size) + 0.5) * side / size).astype(np.int64) - (side - n) // 2
    return np.clip(index, 0, n - 1), (index >= 0) & (index < n)


@lru_cache
def _taps(n: int, side: int, size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each tap, one input pixel per output pixel: its index (size,), and its share of the output pixel (size,).

    The n input pixels are centred in a square of `side` pixels; output pixel i covers [i, i + 1)·side/size of the
    square.
    """
    step = side / size
    start = np.arange(size) * step - (side - n) // 2
    first = np.floor(start + 1e-9).astype(np.int64)
    taps = []
    for tap in range(math.ceil(step) + 1):
        index = first + tap
        overlap = np.minimum(start + step, index + 1) - np.maximum(start, index)
        share = np.where((index >= 0) & (index < n), np.clip(overlap, 0, None) / step, 0.0)
        if share.any():
            taps.append((np.clip(index, 0, n - 1), share.astype(np.float32)))
    return taps


@lru_cache
def _tables(n: int, side: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The result of `_taps` as two arrays (taps, size): indices, int64, and shares, float32."""
    index, share = zip(*_taps(n, side, size), strict=True)
    return np.stack(index), np.stack(share)


def _averaged(xp, x, taps, axis: int):
    """Weighted sum of the pixels of all taps along `axis`."""
    total = None
    for index, share in taps:
        weight = xp.asarray(share if axis == -1 else share[:, None], device=device(x))
        term = xp.take(x, xp.asarray(index, device=device(x)), axis=axis) * weight
        total = term if total is None else total + term
    return total
