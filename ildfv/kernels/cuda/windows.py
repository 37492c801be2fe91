"""Windowing and resizing of slices on a GPU, in one launch of csrc/cuda/windows.cu."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ildfv.kernels.cuda.device import Device, device_of, own_arrays

HOUNSFIELD = {"float32": 0, "int16": 1}  # enum Hounsfield of windows.cu; slices of other dtypes are cast to float32
THREADS = 256

# The input pixels that contribute to each output pixel along one axis: pairs of index (size,) and share (size,).
Taps = list[tuple[np.ndarray, np.ndarray]]
_tables: dict[tuple, tuple] = {}  # device, shape of a slice and windows → arrays on that device


def windowed(hu, windows: Sequence[tuple[float, float]], rows: Taps, columns: Taps):
    """Images uint8 (…, windows, size, size) of slices (…, h, w) in HU, in their library, on the current stream.

    windows: (low, high) of each in HU. rows, columns: taps of the resizing to (size, size).
    """
    (hu,), give = own_arrays([hu])
    return give(compute(device_of(hu), hu, windows, rows, columns))


def compute(device: Device, hu, windows: Sequence[tuple[float, float]], rows: Taps, columns: Taps):
    """`windowed` on a given device."""
    if device.describe(hu)[1] not in HOUNSFIELD:
        hu = device.cast(hu, "float32")
    if len(hu.shape) > 3:
        hu = device.contiguous(hu)
    address, element, shape, strides = device.describe(hu)
    *lead, h, w = shape
    slice_stride = strides[0] if len(lead) == 1 else h * w
    slices, size = prod(lead), len(rows[0][0])
    out = device.empty((*lead, len(windows), size, size), "uint8")
    tables = _on_device(device, (h, w, size, tuple(windows)), windows, rows, columns)
    row_index, row_share, column_index, column_share, levels = (device.describe(table)[0] for table in tables)
    if slices:
        device.launch(
            "window_slices", (slices, -(-size * size // THREADS)), THREADS, 0,
            (address, HOUNSFIELD[element], slice_stride, strides[-2], strides[-1], row_index, row_share, len(rows),
             column_index, column_share, len(columns), levels, len(windows), size, device.describe(out)[0]),
        )  # fmt: skip
    return out


def _on_device(device: Device, shape: tuple, windows, rows: Taps, columns: Taps) -> tuple:
    """Index and share (taps, size) along rows and columns, and low, high, scale (windows, 3), cached on the device."""
    key = (*device.key, *shape)
    if key not in _tables:
        along = [(np.stack([a for a, _ in taps]), np.stack([s for _, s in taps])) for taps in (rows, columns)]
        levels = np.array([(low, high, 255.0 / (high - low)) for low, high in windows], dtype=np.float32)
        arrays = [a for index, share in along for a in (index.astype(np.int64), share.astype(np.float32))]
        _tables[key] = tuple(device.upload(np.ascontiguousarray(a)) for a in (*arrays, levels))
        device.settle()  # any stream may use the tables next
    return _tables[key]
