"""Kernels of the Gaussian and its derivatives, which describe any image without a trained network."""

from __future__ import annotations

import numpy as np


def profiles(sigma: float, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Correlation kernels of the Gaussian and of its scale-normalised first and second derivatives, (size,) each.

    The three kernels give exactly 1 for the constant 1, the ramp x/σ and the parabola x²/(2σ²), respectively, even if σ
    is small. If `size` is even, the centre is between two pixels.
    """
    t = np.arange(size) - (size - 1) / 2
    g = np.exp(-(t**2) / (2 * sigma**2))
    g /= g.sum()
    first = t * g  # for correlation; the kernel of a convolution would have the opposite sign
    first *= sigma / (t * first).sum()
    second = (t**2 / sigma**2 - 1) * g  # σ²·g″
    second -= g * second.sum()  # no response to a constant
    second /= (t**2 * second).sum() / (2 * sigma**2)
    return g, first, second


def derivatives(sigma: float, size: int) -> np.ndarray:
    """Kernels of L, Lx, Ly, Lxx, Lxy, Lyy, scale-normalised, (6, size, size).

    Source: Lindeberg, Int. J. Computer Vision 30 (1998).
    """
    g, first, second = profiles(sigma, size)
    pairs = ((g, g), (g, first), (first, g), (g, second), (first, first), (second, g))  # rows, columns
    return np.stack([np.outer(rows, columns) for rows, columns in pairs])
