"""Checks of a batch on a GPU: the weights of its descriptors, and the search for a map that is not finite."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ildfv.arrays import to_numpy
from ildfv.errors import check
from ildfv.kernels.checks import check_descriptor_weights, not_finite
from ildfv.kernels.cuda.device import Device
from ildfv.kernels.cuda.layout import Batch


def checked_weights(weights, batch: Batch, real: str) -> list[np.ndarray]:
    """The weights of each map's descriptors in `real`, (n_i,).

    InputError: they do not match the maps, are negative or not finite, or overflow `real`.
    """
    weights = [to_numpy(a) for a in weights] if isinstance(weights, (list, tuple)) else to_numpy(weights)
    with np.errstate(over="ignore"):  # checked below
        checked = [a.astype(real) for a in check_descriptor_weights(weights, batch.counts)]
    for i, a in enumerate(checked):
        limit = f"{np.finfo(real).max:.0e}"
        check(bool(np.isfinite(a).all()), f"weights must be below {limit} for {real} maps, got a larger one in map {i}")
    return checked


def first_bad_map(device: Device, maps, suspects: Iterable[int], weights: list[np.ndarray] | None) -> None:
    """Raises InputError for the first of the maps `suspects` that has a non-finite value in a descriptor of weight > 0.

    suspects: indices of maps. weights: (n_i,) per map, or None if all weights are 1.
    """
    for index in suspects:
        values = device.download(device.cast(maps[index], "float64"))  # (n, d) or (d, h, w)
        if weights is not None:  # descriptors of weight 0 may have any values
            rows = values if values.ndim == 2 else values.reshape(len(values), -1).T
            values = rows[weights[index] > 0]
        if not np.isfinite(values).all():
            raise not_finite(index)
