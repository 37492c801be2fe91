"""Local response normalisation of activation maps on the CPU, in a single pass without temporary arrays.

x and gradients are (locations, channels), float32 or, as uint16, the bits of bfloat16. Sums are over the channels that
are at most `reach` away. Maps that are also rectified and pooled are (maps, rows, columns, channels).
"""

from __future__ import annotations

import numpy as np

from ildfv.kernels import _native


def normalise(x: np.ndarray, *, alpha: float, kappa: float, reach: int, threads: int) -> np.ndarray:
    """x / (kappa + alpha Σ x²)^¾, of the dtype of x."""
    x = np.ascontiguousarray(x)
    out = np.empty_like(x)
    if x.size:
        _native.normalise(x, alpha, kappa, reach, threads, out)
    return out


def normalise_gradient(
    x: np.ndarray, gradient: np.ndarray, *, alpha: float, kappa: float, reach: int, threads: int
) -> np.ndarray:
    """The gradient with respect to x, of the dtype of x. gradient: the gradient with respect to `normalise(x)`."""
    x, gradient = np.ascontiguousarray(x), np.ascontiguousarray(gradient)
    out = np.empty_like(x)
    if x.size:
        _native.normalise_gradient(x, gradient, alpha, kappa, reach, threads, out)
    return out


def pool(
    x: np.ndarray, size: tuple[int, int], *, alpha: float, kappa: float, reach: int, threads: int
) -> tuple[np.ndarray, np.ndarray]:
    """The maxima of normalise(max(x, 0)) over windows of 3×3 locations, two apart, and their places in the windows.

    size: rows and columns of windows. Windows at the lower and right edge may be smaller. The places are uint8.
    """
    x = np.ascontiguousarray(x)
    out = np.empty((len(x), *size, x.shape[3]), x.dtype)
    place = np.empty(out.shape, np.uint8)
    if out.size:
        _native.pool(x, alpha, kappa, reach, threads, out, place)
    return out, place


def pool_gradient(
    x: np.ndarray, gradient: np.ndarray, place: np.ndarray, *, alpha: float, kappa: float, reach: int, threads: int
) -> np.ndarray:
    """The gradient with respect to x, of the dtype of x.

    gradient: with respect to the maxima, float32. place: the places of the maxima, as from `pool`.
    """
    x, gradient = np.ascontiguousarray(x), np.ascontiguousarray(gradient)
    out = np.empty_like(x)
    if x.size:
        _native.pool_gradient(x, gradient, place, alpha, kappa, reach, threads, out)
    return out
