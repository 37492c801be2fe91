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
    regions, is_lung = _lung_regions(hu, pixel_area)
    is_lung[_border(regions)] = False
    if not is_lung.any():
        return np.zeros(hu.shape, bool)
    return _filled(np.take(is_lung, regions))


def lung_at_border(hu: np.ndarray, pixel_area: float) -> int:
    """Number of pixels of one slice in lung-like regions that touch its border, such as cropped lung or thick foam.

    hu: HU (rows, columns); pixel_area: mm².
    """
    regions, is_lung = _lung_regions(hu, pixel_area)
    at_border = np.zeros_like(is_lung)
    at_border[_border(regions)] = True
    return int(np.count_nonzero(np.take(is_lung & at_border, regions)))


def check_lung(pixels: np.ndarray, pixel_area: float, at_border: np.ndarray | None = None) -> None:
    """Raises `InputError` if no slice shows 10 cm² of lung, and states whether lung is cropped.

    pixels: lung pixels per slice (m,); pixel_area: mm²; at_border: pixels per slice of `lung_at_border` (m,).
    """
    largest = float(pixels.max(initial=0)) * pixel_area
    if largest >= MIN_LUNG_AREA:
        return
    outside = 0.0 if at_border is None else float(at_border.max(initial=0)) * pixel_area
    cropped = ""
    if outside >= MIN_LUNG_AREA:
        cropped = (
            f" and {outside / 100:.3g} cm² that touch the border of the slice: in a cropped scan, lung cannot be "
            "distinguished from the air around the body, use the uncropped scan"
        )
    raise InputError(
        f"a scan must show lung, at least {MIN_LUNG_AREA / 100:g} cm² in one slice, got {largest / 100:.3g} cm²"
        f"{cropped}"
    )


def _lung_regions(hu: np.ndarray, pixel_area: float) -> tuple[np.ndarray, np.ndarray]:
    """Connected regions of aerated pixels (rows, columns), and for each region number whether it may be lung."""
    aerated = hu < AERATED
    regions, n = ndimage.label(aerated)
    where = np.flatnonzero(aerated)
    inside = np.take(regions, where)
    area = np.bincount(inside, minlength=n + 1)  # (n + 1,)
    total = np.bincount(inside, weights=np.take(hu, where), minlength=n + 1)
    mean = total / np.maximum(area, 1)
    is_lung = (area * pixel_area >= MIN_REGION_AREA) & (mean > GAS)
    is_lung[0] = False
    return regions, is_lung


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
