"""Conversion of maps, and of the weights of their descriptors, to the layouts and dtypes that the kernels read."""

from __future__ import annotations

from typing import Any

import numpy as np

from ildfv.arrays import check_real, dtype_name, is_array, namespace, to_float64, to_numpy
from ildfv.errors import InputError, check
from ildfv.estimators.layouts import MAP_LAYOUTS, NATIVE, count
from ildfv.kernels import Moments, moments
from ildfv.weighted import Weighted, split


def with_weights(maps: Any, weights: Any) -> Any:
    """The maps as `Weighted`: one object for an array, one per map for a list. Without weights, the maps unchanged."""
    if weights is None:
        return maps
    if not isinstance(maps, list):
        return Weighted(maps, to_numpy(weights))
    check(len(weights) == len(maps), f"weights must have one entry per map ({len(maps)}), got {len(weights)}")
    return [Weighted(one, to_numpy(w)) for one, w in zip(maps, weights, strict=True)]


def moments_of(maps, mixture, threshold: float) -> Moments:
    """Moments of maps in an array or a list, which may be `Weighted`."""
    arrays, weights = arrays_and_weights(maps)
    return moments(arrays, mixture, threshold=threshold, weights=weights)


def arrays_and_weights(maps: Any) -> tuple[Any, Any]:
    """The arrays of maps in an array or a list, which may be `Weighted`, and their weights or None."""
    if not isinstance(maps, list):
        return split(maps)
    arrays, each = zip(*map(split, maps), strict=True)
    return list(arrays), None if each[0] is None else each


def as_descriptors(maps: Any) -> Any:
    """Maps in the layouts and dtypes that the kernels read: (d, h, w) in a list as (h·w, d).

    Dtypes that are not NATIVE, such as int16 and bool, become float64.
    """
    if isinstance(maps, Weighted):
        return Weighted(as_descriptors(maps.maps), maps.weights)
    if isinstance(maps, (list, tuple)):
        if _are_plain(maps):
            return list(maps)
        return [as_descriptors(as_rows(one)) if is_array(one) else one for one in maps]
    if not is_array(maps) or dtype_name(maps) in NATIVE:
        return maps
    check_real(maps, "maps")
    return to_float64(maps)


def _are_plain(maps) -> bool:
    """Whether all maps are NumPy arrays (n, d) of one dtype that the kernels read, so that none must be converted."""
    if {type(one) for one in maps} != {np.ndarray} or {one.ndim for one in maps} != {2}:
        return False
    return {one.dtype for one in maps} == {maps[0].dtype} and dtype_name(maps[0]) in NATIVE


def as_rows(one):
    """A map (d, h, w) as descriptors (h·w, d); other arrays unchanged."""
    if one.ndim != 3:
        return one
    xp, (d, h, w) = namespace(one), one.shape
    return xp.permute_dims(xp.reshape(one, (d, h * w)), (1, 0))


def descriptor_counts(maps) -> np.ndarray:
    """Number of descriptors of each map, or the sum of their weights, (b,).

    InputError: unweighted maps are missing, have a wrong shape, or have no descriptors.
    """
    if isinstance(maps, Weighted):
        return maps.totals
    if isinstance(maps, (list, tuple)) and len(maps) > 0 and isinstance(maps[0], Weighted):
        return np.array([one.weights.sum() for one in maps])
    if isinstance(maps, (list, tuple)):
        check(len(maps) > 0, "maps must contain at least one map, got none")
        for i, x in enumerate(maps if not _are_plain(maps) else ()):
            check(
                is_array(x) and x.ndim == 2,
                f"maps[{i}] must be an array of shape (n, d) or (d, h, w), got {np.shape(x)}",
            )
        n = [len(x) for x in maps]
    else:
        shape = tuple(getattr(maps, "shape", ()))
        if len(shape) not in (3, 4):
            raise InputError(f"maps must be {MAP_LAYOUTS}, got shape {shape}")
        check(shape[0] > 0, "maps must contain at least one map, got none")
        n = [count(maps[:1])] * shape[0]
    check(min(n) > 0, f"maps[{n.index(min(n))}] must contain at least one descriptor, got none")
    return np.array(n, dtype=np.float64)
