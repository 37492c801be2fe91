"""Lung masks of images, which are often cropped to the chest, so that lung touches the border of the image.

The rule of `scans.lungs` excludes every region at the border, because it cannot distinguish lung from the air around
the body. Here, a region at the border is lung unless it is as dark as air or contains a corner of the image.
"""

from __future__ import annotations

import numpy as np

from ildfv.scans.lungs import AERATED, GAS, MIN_LUNG_AREA, MIN_REGION_AREA, lung_mask

ABOVE_DARKEST = 40.0  # HU above the minimum of the image, which is air even if the window starts above −1000 HU


def image_lungs(hu: np.ndarray, pixel_area: float) -> np.ndarray:
    """Lung of one image, bool (rows, columns).

    This is the result of `lung_mask` if it covers at least 10 cm². Otherwise, regions at the border are added. If both
    together cover less than 10 cm², the whole image counts as lung.

    hu: HU (rows, columns); pixel_area: mm².
    """
    mask = lung_mask(hu, pixel_area)
    if np.count_nonzero(mask) * pixel_area >= MIN_LUNG_AREA:
        return mask
    mask = mask | _at_border(hu, pixel_area)
    if np.count_nonzero(mask) * pixel_area >= MIN_LUNG_AREA:
        return mask
    return np.ones(hu.shape, bool)


def _at_border(hu: np.ndarray, pixel_area: float) -> np.ndarray:
    """Lung at the border: aerated regions that contain no corner of the image and are denser than gas on average."""
    from scipy import ndimage

    regions, n = ndimage.label(hu < AERATED)
    area = np.bincount(regions.ravel(), minlength=n + 1)
    mean = np.bincount(regions.ravel(), weights=hu.ravel(), minlength=n + 1) / np.maximum(area, 1)
    limit = max(GAS, float(hu.min()) + ABOVE_DARKEST)
    is_lung = (area * pixel_area >= MIN_REGION_AREA) & (mean > limit)
    is_lung[regions[[0, 0, -1, -1], [0, -1, 0, -1]]] = False
    is_lung[0] = False
    return ndimage.binary_fill_holes(is_lung[regions])
