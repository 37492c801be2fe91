"""A threshold-based lung mask, to count lung pixels and to find scans that show no lung.

It is not a segmentation for measuring disease: consolidated lung and lung that touches the border of the slice are
excluded, and large bronchi and some bowel gas may be included.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ildfv.errors import InputError

AERATED = -320.0  # HU; lung is below, chest wall, vessels and consolidation are above
GAS = -960.0  # mean HU of a region; free gas (trachea, bowel) is below, lung including emphysema is above
MIN_REGION_AREA = 100.0  # mm²; smaller aerated regions of a slice are bronchi or noise
MIN_LUNG_AREA = 1000.0  # mm² on the slice with the most lung; a scan with less shows no lung


def lung_mask(hu: np.ndarray, pixel_area: float) -> np.ndarray:
    """Lung of one slice, bool (rows, columns), including vessels and other dense structures inside it.

    These are the connected regions below −320 HU of at least 1 cm² that do not touch the border of the slice (the air
    around the body does) and whose mean is above −960 HU (gas in trachea and bowel is below). Holes are filled.
    hu: HU (rows, columns); pixel_area: mm².
    """
    aerated = hu < AERATED
    regions, n = ndimage.label(aerated)
    if n == 0:
        return aerated
    where = np.flatnonzero(aerated)
    inside = np.take(regions, where)
    area = np.bincount(inside, minlength=n + 1)  # (n + 1,)
    total = np.bincount(inside, weights=np.take(hu, where), minlength=n + 1)
    mean = total / np.maximum(area, 1)
    is_lung = (area * pixel_area >= MIN_REGION_AREA) & (mean > GAS)
    is_lung[0] = False
    is_lung[_border(regions)] = False
    if not is_lung.any():
        return np.zeros_like(aerated)
    return _filled(np.take(is_lung, regions))


def check_lung(pixels: np.ndarray, pixel_area: float) -> None:
    """Raises `InputError` if no slice shows 10 cm² of lung. pixels: lung pixels per slice (m,); pixel_area: mm²."""
    largest = float(pixels.max(initial=0)) * pixel_area
    if largest < MIN_LUNG_AREA:
        raise InputError(
            f"a scan must show lung, at least {MIN_LUNG_AREA / 100:g} cm² in one slice, got {largest / 100:.3g} cm²"
        )


def _filled(mask: np.ndarray) -> np.ndarray:
    """The mask with every background region filled that does not touch the border of the slice."""
    regions, n = ndimage.label(~mask)
    if n <= 1:
        return mask
    hole = np.ones(n + 1, bool)
    hole[0] = False  # the mask itself
    hole[_border(regions)] = False
    return mask | np.take(hole, regions)


def _border(regions: np.ndarray) -> np.ndarray:
    """The values on the four edges."""
    return np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]])
