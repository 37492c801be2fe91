"""Gaussian smoothing of a slice, bit-identical to `scipy.ndimage` and several times as fast."""

import numpy as np

from ildfv.kernels.drawing import smooth_lines


def gaussian(image: np.ndarray, sigma: float, *, truncate: float = 3.0) -> np.ndarray:
    """`image` smoothed along both axes, bit-identical to `scipy.ndimage.gaussian_filter` with the same `truncate`.

    Parameters
    ----------
    image : ndarray of shape (rows, columns), float32 or float64
        The result has the same dtype.
    sigma : float
        Standard deviation in pixels.
    truncate : float
        Radius of the kernel in standard deviations.
    """
    return gaussian_lines(gaussian_lines(image, sigma, axis=0, truncate=truncate), sigma, axis=1, truncate=truncate)


def gaussian_lines(image: np.ndarray, sigma: float, *, axis: int, truncate: float = 4.0) -> np.ndarray:
    """`image` smoothed along one axis, like `gaussian` but with another default of `truncate`.

    The image is reflected at its edges.
    """
    return smooth_lines(image, kernel(sigma, truncate), axis)


def radius(sigma: float, truncate: float = 3.0) -> int:
    """The radius of the kernel in pixels."""
    return int(truncate * sigma + 0.5)


def kernel(sigma: float, truncate: float) -> np.ndarray:
    """Weights at distances 0 … radius, (radius + 1,) float64; the whole kernel has sum 1."""
    reach = radius(sigma, truncate)
    weights = np.exp(-0.5 / (sigma * sigma) * np.arange(-reach, reach + 1) ** 2)
    return (weights / weights.sum())[reach:]
