"""The backbone that needs no network: Gaussian derivatives and dense patches at every pixel."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import correlate1d, gaussian_filter

from ildfv.errors import check
from ildfv.estimators.derivatives import profiles

SIGMAS = (0.7, 1.0, 1.4, 2.0, 2.8, 4.0)  # pixels: half-octaves
SMOOTH = (0.7, 2.0, 4.0)  # pixels: scales of the layer "intensity"
SIDE = 7  # pixels of a patch
FLAT = 0.02  # fraction of the range, added to SDs so that noise is not amplified in patches with less contrast
MAX_LOCATIONS = 64 * 64  # in larger images, rows and columns are skipped in regular steps (bench/NOTES.md)


class Filters:
    """Layers of descriptors of grey images: "derivatives" (d = 18), "patches" (d = 49) and "intensity" (d = 3).

    Derivatives: at each of six scales the gradient's magnitude and the two eigenvalues of the Hessian, which depend
    neither on the orientation of the texture nor on a shift of intensity. Patches: the 7×7 values around a pixel, minus
    their mean and divided by their standard deviation plus FLAT. Intensity: the value, smoothed at three scales, as a
    layer of its own, so that shifts of intensity between subjects or scanners do not affect the mixtures of the others.
    """

    name = "filters"
    layers: tuple[str, ...] = ("derivatives", "patches", "intensity")
    least = SIDE  # pixels along a side

    def scales(self, small: bool) -> tuple[float, ...]:
        """The scales selected by "auto"; the filters have several scales themselves."""
        return 1.0, 0.5

    def auto(self) -> tuple[str, ...]:
        """The layers selected by "auto"."""
        return self.layers

    def maps(self, image: np.ndarray, layers: tuple[str, ...]) -> dict[str, np.ndarray]:
        """The maps (d, h', w') of each layer, float32, of an image (h, w) or (h, w, 3) with values in about [0, 1]."""
        from ildfv.texture.images import GREY

        grey = image if image.ndim == 2 else image @ GREY
        h, w = grey.shape
        check(min(h, w) >= SIDE, f"image must have at least {SIDE}×{SIDE} pixels, got {h}×{w}")
        step = int(np.ceil((h * w / MAX_LOCATIONS) ** 0.5))
        compute = {"derivatives": _derivatives, "patches": _patches, "intensity": _intensity}
        return {layer: compute[layer](grey, step) for layer in layers}


def _derivatives(grey: np.ndarray, step: int) -> np.ndarray:
    found = []
    for sigma in SIGMAS:
        g, first, second = profiles(sigma, 2 * int(np.ceil(3 * sigma)) + 1)
        along = [correlate1d(grey, kernel, axis=0, mode="nearest") for kernel in (g, first, second)]
        pairs = ((0, first), (1, g), (0, second), (1, first), (2, g))
        dx, dy, dxx, dxy, dyy = (
            correlate1d(along[i], kernel, axis=1, mode="nearest")[::step, ::step] for i, kernel in pairs
        )
        middle, spread = (dxx + dyy) / 2, np.hypot((dxx - dyy) / 2, dxy)
        found += [np.hypot(dx, dy), middle - spread, middle + spread]
    return np.stack(found).astype(np.float32)


def _patches(grey: np.ndarray, step: int) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(grey, (SIDE, SIDE))[::step, ::step]  # (h', w', 7, 7)
    rows = windows.reshape(*windows.shape[:2], -1)
    rows = rows - rows.mean(axis=2, keepdims=True)
    rows = rows / (rows.std(axis=2, keepdims=True) + FLAT)
    return np.ascontiguousarray(rows.transpose(2, 0, 1), dtype=np.float32)


def _intensity(grey: np.ndarray, step: int) -> np.ndarray:
    found = [gaussian_filter(grey, sigma, mode="nearest")[::step, ::step] for sigma in SMOOTH]
    return np.stack(found).astype(np.float32)
