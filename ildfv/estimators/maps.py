"""Input maps of encoders: (b, n, d), (b, d, h, w) or a list of (n_i, d), checked and in floating point."""

from __future__ import annotations

from typing import Any

import numpy as np

from ildfv.arrays import check_finite, check_real, dtype_name, is_array, like, namespace, to_numpy
from ildfv.errors import InputError, check
from ildfv.estimators.images import IF_IMAGES, check_not_images
from ildfv.estimators.kernel_maps import as_rows
from ildfv.estimators.layouts import MAP_LAYOUTS, count, features
from ildfv.weighted import Weighted, split

FLOAT32 = ("float32", "float16", "bfloat16", "uint8")  # encoded in float32, all others in float64


def checked(X, n_features: int | None = None) -> list:
    """X as a list of arrays (b, n, d) or (b, d, h, w), float32 or float64.

    An array gives a list of one array. A list gives one array per map: (n, d) becomes (1, n, d), (d, h, w) becomes
    (1, d, h, w). n_features: the d that the encoder expects, None for any. InputError: wrong shape or d, no maps, maps
    without descriptors, arrays of several libraries, complex or masked arrays, non-finite values.
    """
    arrays = list(X) if isinstance(X, (list, tuple)) else [X]
    check(len(arrays) > 0, "maps must contain at least one map, got none")
    kinds = sorted({type(x).__module__.partition(".")[0] for x in arrays})
    check(len(kinds) == 1, f"maps must all be arrays of one library, got {', '.join(kinds)}")
    found = []
    for i, x in enumerate(arrays):
        name = "maps" if x is X else f"maps[{i}]"
        shape = tuple(np.shape(x))
        if not is_array(x) or len(shape) not in ((3, 4) if x is X else (2, 3)):
            raise InputError(f"maps must be {MAP_LAYOUTS}, got {name} of type {type(x).__name__}, shape {shape}")
        x = x if x is X else x[None, ...]
        empty = x.shape[0] == 0 or count(x) == 0 or features(x) == 0
        check(not empty, f"{name} must contain at least one map, descriptor and feature, got shape {shape}")
        check_real(x, name)
        check_finite(x, name, axis="map")
        if n_features is not None and features(x) != n_features:
            rule = f"{name} must have {n_features} features per descriptor, got {features(x)}"
            raise InputError(f"{rule}: {IF_IMAGES}" if x.ndim < 4 else rule)
        found.append(floating(x))
    return found


def checked_with_weights(X, n_features: int | None, weights) -> list[tuple]:
    """Pairs (maps, weights) with maps as in `checked`, and weights (b, n, 1) or None.

    weights: by default those of X if it is a `Weighted`. The returned weights have the library and dtype of the maps;
    descriptors of weight 0 become 0, even if they are not finite. InputError: also for images (`check_not_images`).
    """
    X, own = split(X)
    check_not_images(X, "maps")
    weights = own if weights is None else weights
    if weights is None:
        return [(x, None) for x in checked(X, n_features)]
    listed = isinstance(X, (list, tuple))
    given = list(X) if listed else [X]
    weights = list(weights) if listed else [weights]
    check(len(weights) == len(given), f"weights must have one entry per map ({len(given)}), got {len(weights)}")
    # A map (d, h, w) of a list is converted to descriptors first: `Weighted` would take its three axes for (b, n, d).
    pairs = [
        Weighted(as_rows(x) if listed and is_array(x) else x, to_numpy(w)) for x, w in zip(given, weights, strict=True)
    ]
    maps = checked([_without_ignored(one) for one in pairs] if listed else _without_ignored(pairs[0]), n_features)
    found = []
    for x, one in zip(maps, pairs, strict=True):
        omega = one.weights[None, :, None] if listed else one.weights[..., None]
        found.append((x, like(omega, x, dtype_name(x))))
    return found


def _without_ignored(one: Weighted):
    """The maps with descriptors of weight 0 set to 0."""
    if one.weights.all():
        return one.maps
    xp, maps = namespace(one.maps), one.maps
    if maps.ndim == 4:
        keep = (one.weights > 0).reshape(maps.shape[0], 1, *maps.shape[2:])
    else:
        keep = (one.weights > 0)[..., None]
    keep = xp.astype(like(keep.astype(np.float64), maps), xp.bool)
    return xp.where(keep, maps, xp.zeros_like(maps))


def descriptors(x: Any) -> Any:
    """The descriptors of checked maps, (b, n, d); a view if the library supports it."""
    if x.ndim == 3:
        return x
    xp = namespace(x)
    return xp.permute_dims(xp.reshape(x, (*x.shape[:2], -1)), (0, 2, 1))


def joined(vectors: list):
    """Vectors (b_i, m) concatenated along the first axis."""
    return vectors[0] if len(vectors) == 1 else namespace(*vectors).concat(vectors, axis=0)


def floating(x: Any) -> Any:
    """x in float32 for dtypes of FLOAT32, otherwise in float64."""
    xp = namespace(x)
    return xp.astype(x, xp.float32 if dtype_name(x) in FLOAT32 else xp.float64, copy=False)
