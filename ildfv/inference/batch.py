"""Prepared slices of one scan, with all data that the layers and regions of a predictor need."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ildfv.inference.masks import Masks


@dataclass(frozen=True)
class SliceBatch:
    """m prepared slices of one scan.

    images: uint8 (m, 3, 224, 224). pixel_area: area of a pixel of a 512×512 grid, mm². hu: the slices in HU, int16 (m,
    1, 224, 224) (`scans.hounsfield`). lung: masks of the lung, bool (m, 224, 224); None: the built-in rule finds the
    lung.
    """

    images: np.ndarray
    pixel_area: float
    hu: np.ndarray | None = None
    lung: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows) -> SliceBatch:
        """The slices at these rows, given as a slice object or as an array of indices."""
        hu, lung = (None if one is None else one[rows] for one in (self.hu, self.lung))
        return SliceBatch(self.images[rows], self.pixel_area, hu, lung)

    def parts(self, size: int) -> Iterator[tuple[slice, SliceBatch]]:
        """Yields (rows, the slices at these rows), at most `size` at a time."""
        for start in range(0, len(self), size):
            rows = slice(start, start + size)
            yield rows, self[rows]

    @cached_property
    def masks(self) -> Masks:
        """The masks of the regions of these slices."""
        return Masks(self.images, self.pixel_area, self.lung)
