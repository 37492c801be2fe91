"""Prepared slices in integer Hounsfield units, in steps of 1 HU instead of the 6 HU of 8-bit windows."""

from __future__ import annotations

import numpy as np

from ildfv.scans.windows import NORMAL, SIZE, WINDOWS, resized

LOWEST, HIGHEST = int(WINDOWS[NORMAL][0]), 3071  # HU; unclipped padding and metal would change averages of neighbours


def mean_hounsfield(hu: np.ndarray) -> np.ndarray:
    """HU averaged over the area of each prepared pixel, int16 (224, 224), clipped to −1400 … 3071 before averaging.

    A slice that is not square is centred, as by `windowed`; pixels outside it are −1400 HU, black in every window.
    hu: (rows, columns).
    """
    above = np.clip(np.asarray(hu, np.float32), LOWEST, HIGHEST) - LOWEST
    return (np.floor(resized(above, SIZE) + 0.5) + LOWEST).astype(np.int16)
