"""Noise of a scan reduced to a common level by a Gaussian filter in the plane of the slices.

The noise is measured in soft tissue (`scans.tissue`). The width of the filter is found by bisection on a few slices,
because each reconstruction kernel gives noise with another spectrum. A filter cannot raise noise: scans below the level
are not changed, so a common level should be below the noise of most scans. The filter also blurs the lung.
"""

from __future__ import annotations

import numpy as np

from ildfv.errors import check
from ildfv.scans.tissue import NEAR, SOFT, noise_of, soft_tissue, spaced, windows

WIDEST = 2.0  # mm, standard deviation of the filter; wider filters remove the patterns
STEPS = 7  # number of bisections: the width is exact to 0.02 mm
TOLERANCE = 1.03  # noise up to this multiple of the level is not reduced
MEASURED = 4  # number of slices on which the width is found


def measured_noise(hu: np.ndarray, pixel_area: float) -> float:
    """The noise of a scan (z, y, x) in soft tissue, HU. Raises `InputError` if there is too little soft tissue."""
    return noise_of(soft_tissue(hu[spaced(len(hu))], pixel_area)[1])


def reduced(hu: np.ndarray, pixel_area: float, level: float) -> tuple[np.ndarray, str]:
    """(HU with at most `level` HU of noise, dtype of the input; a note with the measured values).

    hu: (z, y, x). pixel_area: mm². Raises `InputError` if noise cannot be measured, or a filter of 2 mm does not reach
    the level.
    """
    from scipy import ndimage

    noise, pixel = measured_noise(hu, pixel_area), float(np.sqrt(pixel_area))
    if noise <= TOLERANCE * level:
        return hu, f"noise of {noise:.1f} HU in soft tissue, not reduced: it is not above the level of {level:g} HU"
    chosen = hu[spaced(len(hu), MEASURED)].astype(np.float32)
    inside = [_homogeneous(slice_, pixel, noise) for slice_ in chosen]

    def left(width: float) -> float:
        """The noise after a filter of this width, mm."""
        found = [
            windows(ndimage.gaussian_filter(slice_, width / pixel), pixel)[1][where]
            for slice_, where in zip(chosen, inside, strict=True)
        ]
        return noise * float(np.median(np.concatenate(found))) / before

    deviations = np.concatenate([windows(a, pixel)[1][b] for a, b in zip(chosen, inside, strict=True)])
    check(len(deviations) > 0, "noise must be measurable in homogeneous soft tissue, got none", faq="scanner-options")
    before = float(np.median(deviations))
    low, high = 0.0, WIDEST
    least = left(high)
    check(
        least <= level,
        f"noise of {noise:.1f} HU must be reducible to the noise level of {level:g} HU by a filter of at most "
        f"{WIDEST:g} mm, got {least:.1f} HU: use a higher noise level, or omit the scan",
        faq="scanner-options",
    )
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if left(middle) > level else (low, middle)
    out = np.empty_like(hu)
    for z, slice_ in enumerate(hu):
        smooth = ndimage.gaussian_filter(slice_.astype(np.float32), high / pixel)
        out[z] = np.rint(smooth) if hu.dtype.kind == "i" else smooth
    return out, f"noise of {noise:.1f} HU in soft tissue reduced to {level:g} HU by a Gaussian filter of {high:.2f} mm"


def _homogeneous(hu: np.ndarray, pixel: float, noise: float) -> np.ndarray:
    """Whether the window around each pixel of a slice is homogeneous soft tissue, bool (rows, columns)."""
    mean, deviation = windows(hu, pixel)
    return (mean >= SOFT[0]) & (mean <= SOFT[1]) & (deviation <= NEAR * noise) & (deviation >= noise / NEAR)
