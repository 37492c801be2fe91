"""Lung masks of prepared slices, on the HU that the normal window still holds: by a plain rule, or by lungmask."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from ildfv.errors import InputError, require
from ildfv.scans.lungs import lung_mask
from ildfv.scans.windows import WINDOWS
from ildfv.train.patches import GRID, SIZE

NORMAL = 1  # the normal window's place among the three
METHODS = ("rule", "lungmask")


def lungs(slices, indices, method: str = "rule") -> np.ndarray:
    """Lung of these slices, bool (m, 224, 224).

    method: "rule", that of `scans.lungs`, which needs no package and suits phantoms; or "lungmask", the U-net R231
    (Hofmanninger et al. 2020), which knows consolidated lung. The normal window is clipped at −1400 and 200 HU, in
    steps of 6 HU: enough for both.
    """
    indices = np.asarray(indices)
    low, high = WINDOWS[NORMAL]
    hu = low + slices.images(indices)[:, NORMAL].astype(np.float32) * ((high - low) / 255)  # (m, 224, 224)
    if method == "lungmask":
        return np.asarray(_lungmask()(hu)) > 0
    if method != "rule":
        raise InputError(f'lungs must be {" or ".join(METHODS)}, got "{method}"')
    areas = np.asarray(slices.pixel_area)[indices] * (GRID / SIZE) ** 2  # mm² of a prepared pixel
    return np.stack([lung_mask(one, float(area)) for one, area in zip(hu, areas, strict=True)])


@cache
def _lungmask() -> Callable[[np.ndarray], np.ndarray]:
    """HU (m, h, w) → labels, 0 outside the lung; lungmask fetches its weights when it is first used."""
    package = require("lungmask", purpose='lungs "lungmask"', install="pip install 'ildfv[lungs]'")
    try:  # its postprocessing takes the slices for one volume, which ours are not
        return package.LMInferer(volume_postprocessing=False, tqdm_disable=True).apply
    except OSError as error:
        raise InputError(f'lungs "lungmask" must fetch its weights when first used, got {error}') from error
