"""Lung masks of prepared slices, from their normal window, or of whole scans, by a rule or by the lungmask package."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from ildfv.errors import InputError, check, require
from ildfv.scans.lungs import GAS, lung_mask
from ildfv.scans.windows import GRID, NORMAL, SIZE, WINDOWS

RIM = 2  # width in prepared pixels of the blurred wall around gas
RULE, LUNGMASK = METHODS = ("rule", "lungmask")


def lungs(slices, indices, method: str = "rule") -> np.ndarray:
    """Lung of these slices, bool (m, 224, 224).

    method: "rule", the rule of `scans.lungs`, which needs no other package and is suitable for phantoms; or "lungmask",
    the U-net R231 (Hofmanninger et al. 2020), which also recognises consolidated lung. Both use the HU of the normal
    window, clipped to −1400 … 200 in steps of 6 HU, which is sufficient. Raises the errors of `lungs_of`.
    """
    indices = np.asarray(indices)
    return lungs_of(slices.images(indices), np.asarray(slices.paper_pixel_area)[indices], method)


def lungs_of(images: np.ndarray, pixel_area: np.ndarray, method: str = "rule") -> np.ndarray:
    """Lung of images (m, 3, 224, 224), bool (m, 224, 224). pixel_area: mm² of a pixel of a 512×512 grid, (m,).

    Raises the errors of `refuse_unknown_lungs`, and `InputError` if lungmask cannot download its weights.
    """
    low, high = WINDOWS[NORMAL]
    hu = low + images[:, NORMAL].astype(np.float32) * ((high - low) / 255)  # (m, 224, 224)
    refuse_unknown_lungs(method)
    if method == "lungmask":
        return np.asarray(_lungmask()(hu)) > 0
    areas = pixel_area * (GRID / SIZE) ** 2  # mm² of a prepared pixel
    slices = zip(hu, areas, strict=True)
    return np.stack([_without_gas(lung_mask(slice_, float(area)), slice_) for slice_, area in slices])


def _without_gas(mask: np.ndarray, hu: np.ndarray) -> np.ndarray:
    """The mask without regions whose interior is gas.

    Prepared pixels average several pixels of the scan. The wall of the trachea is therefore blurred and raises the mean
    of the gas above the limit of `lung_mask`; the mean without the rim of the region is not affected.
    """
    from scipy import ndimage

    regions, n = ndimage.label(mask)
    inner = np.where(ndimage.binary_erosion(mask, iterations=RIM), regions, 0)
    pixels, total = (np.bincount(inner.ravel(), weights, minlength=n + 1) for weights in (None, hu.ravel()))
    gas = total < GAS * pixels  # a small region has no interior and is kept
    return mask & ~gas[regions]


def scan_lungs(hu: np.ndarray) -> np.ndarray:
    """The lung of a whole scan by lungmask's U-net R231, bool (z, y, x), without small separate regions.

    hu: (z, y, x), z to the head. Raises `MissingPackageError` if the package is not installed, and `InputError` if it
    cannot download its weights or returns a mask of another shape.
    """
    found = np.asarray(_lungmask_of_scans()(hu))
    check(found.shape == hu.shape, f"lungmask must return a mask of shape {hu.shape}, got {found.shape}: update it")
    return found > 0


def check_lungmask() -> None:
    """Loads lungmask and its weights. Raises the errors of `scan_lungs` if one of the two cannot be loaded."""
    _lungmask_of_scans()


def refuse_unknown_lungs(method: str) -> None:
    """Raises `InputError` for an unknown method, or `MissingPackageError` for a missing package. Downloads nothing."""
    check(method in METHODS, f'lungs must be {" or ".join(METHODS)}, got "{method}"')
    if method == "lungmask":
        _package()


def _package():
    return require("lungmask", purpose='lungs "lungmask"', install="pip install 'ildfv[lungs]'")


@cache
def _lungmask() -> Callable[[np.ndarray], np.ndarray]:
    """HU (m, h, w) → labels, 0 outside the lung; lungmask downloads its weights on first use."""
    return _inferer(volume_postprocessing=False)  # postprocessing assumes that the slices form one volume


@cache
def _lungmask_of_scans() -> Callable[[np.ndarray], np.ndarray]:
    """HU (z, y, x) of a whole scan → labels, 0 outside the lung."""
    return _inferer(volume_postprocessing=True)


def _inferer(*, volume_postprocessing: bool) -> Callable[[np.ndarray], np.ndarray]:
    package = _package()
    try:
        return package.LMInferer(volume_postprocessing=volume_postprocessing, tqdm_disable=True).apply
    except OSError as error:
        rule = 'lungs "lungmask" must be able to download its weights on first use'
        raise InputError(f"{rule}: {error}", faq="offline") from error
