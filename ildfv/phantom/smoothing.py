"""Gaussian smoothing of a slice: SciPy's result to the last bit, several times as fast.

`scipy.ndimage` filters one line at a time with scalar code. Here each term of the sum is one NumPy operation on a
block of lines, in double precision and in SciPy's order of summation.
"""

import numpy as np

from ildfv.phantom.fields import BLOCK


def gaussian(image: np.ndarray, sigma: float, *, truncate: float = 3.0) -> np.ndarray:
    """`image` smoothed along both axes; the same bits as from `scipy.ndimage.gaussian_filter`.

    Parameters
    ----------
    image : (rows, columns) float32 or float64, as is the result
    sigma : standard deviation, pixels
    truncate : radius of the kernel in standard deviations
    """
    return gaussian_lines(gaussian_lines(image, sigma, axis=0, truncate=truncate), sigma, axis=1, truncate=truncate)


def gaussian_lines(image: np.ndarray, sigma: float, *, axis: int, truncate: float = 4.0) -> np.ndarray:
    """`image` smoothed along one axis; arguments as for `gaussian`. The edge is continued by reflection."""
    half = kernel(sigma, truncate)
    smooth = np.empty_like(image)
    for start in range(0, image.shape[1 - axis], BLOCK):
        block = np.s_[:, start : start + BLOCK] if axis == 0 else np.s_[start : start + BLOCK, :]
        smooth[block] = symmetric_sum(image[block], half, axis)
    return smooth


def kernel(sigma: float, truncate: float) -> np.ndarray:
    """Weights at distances 0 … radius, (radius + 1,) float64; the whole kernel has sum 1."""
    radius = int(truncate * sigma + 0.5)
    weights = np.exp(-0.5 / (sigma * sigma) * np.arange(-radius, radius + 1) ** 2)
    return (weights / weights.sum())[radius:]


def symmetric_sum(lines: np.ndarray, half: np.ndarray, axis: int) -> np.ndarray:
    """Σ_j half[|j|] · lines shifted by j along `axis`, float64, the outermost pair of terms first as in SciPy."""
    radius, size = len(half) - 1, lines.shape[axis]
    shape = list(lines.shape)
    shape[axis] += 2 * radius
    padded = np.empty(shape)
    along = np.moveaxis(padded, axis, 0)
    along[radius : radius + size] = np.moveaxis(lines, axis, 0)
    along[:radius] = along[radius : 2 * radius][::-1]
    along[radius + size :] = along[size : radius + size][::-1]

    def shifted(by: int) -> np.ndarray:
        part = slice(radius + by, radius + by + size)
        return padded[part] if axis == 0 else padded[:, part]

    total, pair = half[0] * shifted(0), np.empty(lines.shape)
    for j in range(radius, 0, -1):
        np.add(shifted(-j), shifted(j), out=pair)
        pair *= half[j]
        total += pair
    return total
