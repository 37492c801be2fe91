"""The body of a person on a slice: everything inside the skin, without the table."""

from __future__ import annotations

import numpy as np

from ildfv.kernels.slices import dilated, eroded, largest_region

TISSUE = -500  # HU; the skin and the tissue below it have higher values. An integer, so that int16 is not converted
OPENING = 2  # pixels; a morphological opening separates the body from clothes and table


def body_mask(hu: np.ndarray) -> np.ndarray:
    """The largest connected region above −500 HU with its holes filled, bool (rows, columns).

    Arms that do not touch the chest are excluded. A slice without tissue gives an empty mask.
    """
    return largest_region(dilated(eroded(hu > TISSUE, OPENING), OPENING))
