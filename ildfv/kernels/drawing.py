"""C++ loops for drawing phantoms: smoothing, spline fields and nearest points."""

from __future__ import annotations

import numpy as np

from ildfv.kernels import _native


def smooth_lines(image: np.ndarray, half: np.ndarray, axis: int) -> np.ndarray:
    """Σ_j half[|j|] · image shifted by j along `axis`, of the image's dtype and computed in float64.

    image: (rows, columns), float32 or float64. half: (radius + 1,) weights. The edge is continued by reflection.
    """
    image, out = np.ascontiguousarray(image), np.empty(image.shape, image.dtype)
    if image.size:
        _native.smooth_lines(image, np.ascontiguousarray(half, np.float64), axis, out)
    return out


def spline_rows(plane: np.ndarray, index: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Σ_k weights[k, y] · plane[index[k, y]] for each row y, summed in ascending k, float32 (rows, columns).

    plane: (m, columns). index, weights: (4, rows).
    """
    out = np.empty((index.shape[1], plane.shape[1]), np.float32)
    if out.size:
        plane, weights = (np.ascontiguousarray(a, np.float32) for a in (plane, weights))
        _native.spline_rows(plane, np.ascontiguousarray(index, np.int64), weights, out)
    return out


def nearest_points(
    points: np.ndarray, x: np.ndarray, y: np.ndarray, z: float, *, spacing: float, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Distances float32 and indices int64 of the `count` points nearest to each (x, y) of the plane z: (n, count).

    points: (m, 3) as z, y, x, with m ≥ count. spacing: the approximate mean distance of the points, which affects only
    the time.
    """
    points, x, y = (np.ascontiguousarray(a, np.float32) for a in (points, x, y))
    distance, index = np.empty((len(x), count), np.float32), np.empty((len(x), count), np.int64)
    if len(x):
        _native.nearest_points(points, x, y, z, spacing, distance, index)
    return distance, index
