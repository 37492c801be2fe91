"""Batches of descriptors in the layouts (m, d), (b, n, d) and (b, d, h, w): their sizes and rows."""

from __future__ import annotations

import math

import numpy as np

from ildfv.arrays import check_finite, dtype_name, namespace, to_numpy
from ildfv.weighted import Weighted, split

LAYOUTS = {2: "(m, d)", 3: "(b, n, d)", 4: "(b, d, h, w)"}
MAP_LAYOUTS = "(b, n, d), (b, d, h, w) or a list of (n_i, d) or (d, h_i, w_i)"
NATIVE = ("float32", "float64", "float16", "bfloat16", "uint8")  # read by the kernels without conversion


def features(batch) -> int:
    """d of a batch in any layout."""
    return batch.shape[1] if batch.ndim in (2, 4) else batch.shape[2]


def count(batch) -> int:
    """The number of descriptors of a batch in any layout."""
    return math.prod(batch.shape) // max(1, features(batch))


def itemsize(batch) -> int:
    """Bytes of one value."""
    kind = dtype_name(split(batch)[0])
    return 2 if kind == "bfloat16" else np.dtype(kind).itemsize  # NumPy has no bfloat16


def rows_of(maps):
    """The descriptors of maps in any layout, (m, d), in the order of `take`."""
    if maps.ndim == 4:
        maps = namespace(maps).permute_dims(maps, (0, 2, 3, 1))
    return maps.reshape(-1, maps.shape[-1])


def take(batch, indices: np.ndarray) -> np.ndarray:
    """The descriptors at `indices`, counted map by map, NumPy (m, d)."""
    batch = to_numpy(split(batch)[0])
    if batch.ndim == 2:
        return batch[indices]
    if batch.ndim == 3:
        return batch[indices // batch.shape[1], indices % batch.shape[1]]
    b, d, h, w = batch.shape
    return batch.reshape(b, d, h * w)[indices // (h * w), :, indices % (h * w)]


def check_place(batch, name: str) -> None:
    """Raises an InputError that names the first row or map of `batch` with a value that is not finite.

    Does nothing if a descriptor has weight 0, because its values are not used and need not be finite.
    """
    if isinstance(batch, Weighted):
        if batch.weights.all():
            check_place(batch.maps, name)
        return
    check_finite(batch, name, axis="row" if batch.ndim == 2 else "map")
