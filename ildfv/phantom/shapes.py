"""Signed distances to simple shapes, and mixing of planes of HU."""

import numpy as np


def ellipse(x, y, a: float, b: float) -> np.ndarray:
    """Approximate signed distance to an ellipse with half-axes a, b: f/|∇f| with f = √((x/a)² + (y/b)²) − 1."""
    f = np.sqrt((x / a) ** 2 + (y / b) ** 2)
    slope = np.sqrt((x / a**2) ** 2 + (y / b**2) ** 2) / np.maximum(f, 1e-3)
    return (f - 1) / np.maximum(slope, 1 / (2 * max(a, b)))


def superellipse(x, y, a: float, b: float, power: float) -> np.ndarray:
    """Like `ellipse`, for the curve |x/a|ᵖ + |y/b|ᵖ = 1."""
    s, t = np.abs(x / a), np.abs(y / b)
    f = (s**power + t**power) ** (1 / power)
    safe = np.maximum(f, 1e-3)
    slope = np.sqrt(((s / safe) ** (power - 1) / a) ** 2 + ((t / safe) ** (power - 1) / b) ** 2)
    return (f - 1) / np.maximum(slope, 1 / (2 * max(a, b)))


def smooth_max(a: np.ndarray, b: np.ndarray, width: float) -> np.ndarray:
    """max(a, b) with the corner rounded over `width`, same units as a and b."""
    overlap = np.maximum(width - np.abs(a - b), 0)
    return np.maximum(a, b) + overlap * overlap / (4 * width)


def coverage(distance: np.ndarray, pixel: float) -> np.ndarray:
    """Fraction of each pixel inside a shape, in [0, 1], from the signed distance (negative inside) to its surface."""
    return np.clip(0.5 - distance / np.float32(pixel), 0, 1)


def mix(hu, share: np.ndarray, value) -> np.ndarray:
    """`hu` with the fraction `share` of each pixel replaced by `value`; both are arrays or numbers."""
    return hu + share * (value - hu)


def bump(u: float, centre: float, width: float) -> float:
    """A Gaussian function with maximum 1 at `centre` and the value 1/e at a distance of `width`."""
    return float(np.exp(-(((u - centre) / width) ** 2)))
