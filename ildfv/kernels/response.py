"""Local response normalisation of activation maps on the CPU, in a single pass without temporary arrays.

x and gradients are (locations, channels), float32 or, as uint16, the bits of bfloat16. Sums are over the channels that
are at most `reach` away.
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
