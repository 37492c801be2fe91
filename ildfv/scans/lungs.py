"""A threshold-based lung mask, to count lung pixels and to find scans that show no lung.

It is not a segmentation for measuring disease: consolidated lung and lung that touches the border of the slice are
excluded, and large bronchi and some bowel gas may be included.
"""

from __future__ import annotations

import numpy as np

from ildfv.errors import InputError
from ildfv.kernels.slices import lung_regions

AERATED = -320.0  # HU; lung has lower values; chest wall, vessels and consolidation have higher values
GAS = -960.0  # mean HU of a region; free gas (trachea, bowel) has a lower mean, lung with emphysema a higher mean
MIN_REGION_AREA = 100.0  # mm²; smaller aerated regions of a slice are bronchi or noise
MIN_LUNG_AREA = 1000.0  # mm² on the slice with the most lung; a scan with less shows no lung


def lung_mask(hu: np.ndarray, pixel_area: float) -> np.ndarray:
    """Lung of one slice, bool (rows, columns), including vessels and other dense structures inside it.

    A connected region below −320 HU is lung if its area is at least 1 cm², if it does not touch the border of the slice
    (as the air around the body does), and if its mean is above −960 HU (gas in trachea and bowel is darker). Holes are
    filled.
    hu: HU (rows, columns); pixel_area: mm².
    """
    return _regions(hu, pixel_area)[0]


def lung_at_border(hu: np.ndarray, pixel_area: float) -> int:
    """Number of pixels of one slice in lung-like regions that touch its border, such as cropped lung or thick foam.

    hu: HU (rows, columns); pixel_area: mm².
    """
    return _regions(hu, pixel_area, at_border=True)[1]


def check_lung(pixels: np.ndarray, pixel_area: float, at_border: np.ndarray | None = None) -> None:
    """Raises `InputError` if no slice shows 10 cm² of lung. The message states whether lung is cropped.

    pixels: lung pixels per slice (m,); pixel_area: mm²; at_border: pixels per slice of `lung_at_border` (m,).
    """
    largest = float(pixels.max(initial=0)) * pixel_area
    if largest >= MIN_LUNG_AREA:
        return
    outside = 0.0 if at_border is None else float(at_border.max(initial=0)) * pixel_area
    cropped = ""
    if outside >= MIN_LUNG_AREA:
        cropped = (
            f" and another {outside / 100:.3g} cm² at the border of the slice: in a cropped scan, lung cannot be "
            "distinguished from the air around the body, so use the uncropped scan"
        )
    raise InputError(
        f"a scan must show lung, at least {MIN_LUNG_AREA / 100:g} cm² in one slice, got {largest / 100:.3g} cm²"
        f"{cropped}",
        faq="no-lung",
    )


def _regions(hu: np.ndarray, pixel_area: float, *, at_border: bool = False) -> tuple[np.ndarray, int]:
    """Mask (rows, columns) of lung-like regions, inside the slice or at its border, and its number of pixels."""
    return lung_regions(
        hu,
        below=AERATED,
        pixel_area=pixel_area,
        least_area=MIN_REGION_AREA,
        least_mean=GAS,
        at_border=at_border,
    )
