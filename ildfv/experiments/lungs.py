"""Lung masks of prepared slices: the plain rule of `scans.lungs` on the HU that the normal window still holds."""

from __future__ import annotations

import numpy as np

from ildfv.scans.lungs import lung_mask
from ildfv.scans.windows import WINDOWS

NORMAL = 1  # the normal window's place among the three
GRID, SIZE = 512, 224  # pixels along a side of the original slice, and of a prepared one


def lungs(slices, indices) -> np.ndarray:
    """Lung of these slices, bool (m, 224, 224).

    The normal window is clipped at −1400 and 200 HU and has steps of 6 HU; the rule needs −320 and −960 HU only.
    """
    indices = np.asarray(indices)
    low, high = WINDOWS[NORMAL]
    hu = low + slices.images(indices)[:, NORMAL].astype(np.float32) * ((high - low) / 255)
    areas = np.asarray(slices.pixel_area)[indices] * (GRID / SIZE) ** 2
    return np.stack([lung_mask(one, float(area)) for one, area in zip(hu, areas, strict=True)])
