"""Masks of the regions in which the descriptors of a slice are pooled. Each mask is computed once."""

from __future__ import annotations

import numpy as np

from ildfv.scans.body import body_mask
from ildfv.scans.prepared_lungs import lungs_of
from ildfv.scans.windows import NORMAL, WINDOWS


class Masks:
    """The masks of prepared slices, uint8 (m, 3, 224, 224), of one scan. A mask is computed when it is first used.

    pixel_area: area of a pixel of a 512×512 grid, mm². lung: masks of the lung, bool (m, 224, 224), which replace the
    masks of the method "rule".
    """

    def __init__(self, images: np.ndarray, pixel_area: float, lung: np.ndarray | None = None):
        self.images, self.pixel_area = images, pixel_area
        self._given = lung
        self._found: dict[tuple[str, str], np.ndarray] = {}

    def of(self, region: str, lungs: str) -> np.ndarray | None:
        """The mask of a region, bool (m, 224, 224); None for the whole slice. lungs: method that finds the lung."""
        if region == "slice":
            return None
        key = (region, lungs)
        if key not in self._found:
            self._found[key] = self._lung(lungs) if region == "lung" else self._body()
        return self._found[key]

    def _lung(self, method: str) -> np.ndarray:
        if method == "rule" and self._given is not None:
            return self._given
        return lungs_of(self.images, np.full(len(self.images), self.pixel_area), method)

    def _body(self) -> np.ndarray:
        low, high = WINDOWS[NORMAL]
        return np.stack(
            [body_mask(low + one.astype(np.float32) * ((high - low) / 255)) for one in self.images[:, NORMAL]]
        )
