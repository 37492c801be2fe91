"""Lung masks of prepared slices, on the HU that the normal window still holds: by a plain rule, or by lungmask."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from scipy import ndimage

from ildfv.errors import InputError, check, require
from ildfv.scans.lungs import GAS, lung_mask
from ildfv.scans.windows import GRID, NORMAL, SIZE, WINDOWS

RIM = 2  # prepared pixels that a wall blurs into
METHODS = ("rule", "lungmask")


def lungs(slices, indices, method: str = "rule") -> np.ndarray:
    """Lung of these slices, bool (m, 224, 224).

    method: "rule", that of `scans.lungs`, which needs no package and suits phantoms; or "lungmask", the U-net R231
    (Hofmanninger et al. 2020), which knows consolidated lung. The normal window is clipped at −1400 and 200 HU, in
    steps of 6 HU: enough for both.
    """
    indices = np.asarray(indices)
    return lungs_of(slices.images(indices), np.asarray(slices.pixel_area)[indices], method)


def lungs_of(images: np.ndarray, pixel_area: np.ndarray, method: str = "rule") -> np.ndarray:
    """The same of images (m, 3, 224, 224) with this pixel area on the original grid, mm² (m,)."""
    low, high = WINDOWS[NORMAL]
    hu = low + images[:, NORMAL].astype(np.float32) * ((high - low) / 255)  # (m, 224, 224)
    refuse_unknown_lungs(method)
    if method == "lungmask":
        return np.asarray(_lungmask()(hu)) > 0
    areas = pixel_area * (GRID / SIZE) ** 2  # mm² of a prepared pixel
    return np.stack([_without_gas(lung_mask(one, float(area)), one) for one, area in zip(hu, areas, strict=True)])


def _without_gas(mask: np.ndarray, hu: np.ndarray) -> np.ndarray:
    """The mask without regions that hold gas inside of a rim: a prepared pixel is several of the scan's, so the wall of
    the trachea blurs into it and lifts its mean over the bound of `lung_mask`."""
    regions, n = ndimage.label(mask)
    inner = np.where(ndimage.binary_erosion(mask, iterations=RIM), regions, 0)
    pixels, total = (np.bincount(inner.ravel(), weights, minlength=n + 1) for weights in (None, hu.ravel()))
    gas = total < GAS * pixels  # nothing is left inside of a small region: it stays
    return mask & ~gas[regions]


def refuse_unknown_lungs(method: str) -> None:
    """Nothing if there is such a method; InputError or MissingPackageError otherwise. No weights are fetched."""
    check(method in METHODS, f'lungs must be {" or ".join(METHODS)}, got "{method}"')
    if method == "lungmask":
        _package()


def _package():
    return require("lungmask", purpose='lungs "lungmask"', install="pip install 'ildfv[lungs]'")


@cache
def _lungmask() -> Callable[[np.ndarray], np.ndarray]:
    """HU (m, h, w) → labels, 0 outside the lung; lungmask fetches its weights when it is first used."""
    package = _package()
    try:  # its postprocessing takes the slices for one volume, which ours are not
        return package.LMInferer(volume_postprocessing=False, tqdm_disable=True).apply
    except OSError as error:
        raise InputError(f'lungs "lungmask" must fetch its weights when first used, got {error}') from error
