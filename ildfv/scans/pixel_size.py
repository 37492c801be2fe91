"""Slices resampled to a common grid of 512×512 pixels of one size, around the centre of the scan's slices.

A prepared slice always has 224×224 pixels. With a common grid, these pixels have the same size in mm in every scan, and
a threshold in pixels is the same area in every scan. HU are interpolated linearly, or averaged if the grid is coarser
(antialiased). Labels are those of the nearest pixel, so that pixel counts times the pixel area of the grid are areas.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ildfv.errors import check
from ildfv.scans.geometry import Geometry
from ildfv.scans.lungs import MIN_REGION_AREA, lung_mask
from ildfv.scans.volume import PADDING
from ildfv.scans.windows import GRID

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass(frozen=True)
class Axis:
    """One axis of the common grid: n pixels of the scan, and `step` pixels of the scan per pixel of the grid."""

    n: int
    step: float

    @property
    def side(self) -> float:
        """The length of the grid in pixels of the scan."""
        return GRID * self.step

    @property
    def start(self) -> float:
        """Distance from the start of the grid to the start of the scan, in pixels of the scan; may be negative."""
        return (self.side - self.n) / 2

    def centres(self) -> np.ndarray:
        """The centres of the pixels of the grid, as indices of pixels of the scan, (512,)."""
        return (np.arange(GRID) + 0.5) * self.step - self.start - 0.5

    def inside(self) -> np.ndarray:
        """Whether the centre of each pixel of the grid is inside the scan, bool (512,)."""
        places = self.centres()
        return (places >= -0.5) & (places < self.n - 0.5)

    def kept(self) -> np.ndarray:
        """Whether each pixel of the scan is inside the grid, bool (n,)."""
        places = np.arange(self.n) + self.start
        return (places >= 0) & (places + 1 <= self.side)

    def shares(self) -> csr_array:
        """The weight of each pixel of the scan in each pixel of the grid, (512, n), rows with sum 1 or 0."""
        from scipy.sparse import csr_array

        reach = max(1.0, self.step)
        places = self.centres()[:, None]
        weights = np.clip(1 - np.abs(np.arange(self.n) - places) / reach, 0, None) * self.inside()[:, None]
        total = weights.sum(axis=1, keepdims=True)
        return csr_array((weights / np.where(total > 0, total, 1)).astype(np.float32))

    def nearest(self) -> np.ndarray:
        """The pixel of the scan nearest to each pixel of the grid, (512,)."""
        return np.clip(np.rint(self.centres()), 0, self.n - 1).astype(int)


@dataclass(frozen=True)
class Field:
    """The common grid around the centre of a scan's slices. pixel: mm."""

    pixel: float
    rows: Axis
    columns: Axis

    @classmethod
    def of(cls, scan: Geometry, pixel: float) -> Field:
        """The common grid for a scan. pixel: mm."""
        _, dy, dx = scan.spacing
        return cls(pixel, Axis(scan.shape[1], pixel / dy), Axis(scan.shape[2], pixel / dx))

    def hounsfield(self, hu: np.ndarray) -> np.ndarray:
        """The HU on the grid, (z, 512, 512), in the dtype of the input; padding beyond the scan. hu: (z, y, x)."""
        rows, columns = self.rows.shares(), self.columns.shares()
        beyond = ~(self.rows.inside()[:, None] & self.columns.inside()[None, :])
        out = np.empty((len(hu), GRID, GRID), hu.dtype)
        for z, slice_ in enumerate(hu):
            found = (columns @ (rows @ slice_.astype(np.float32)).T).T
            found[beyond] = PADDING
            out[z] = np.rint(found) if hu.dtype.kind == "i" else found
        return out

    def labels(self, labels: np.ndarray, outside: int) -> np.ndarray:
        """The labels on the grid by nearest neighbour, (z, 512, 512); `outside` beyond the scan."""
        found = labels[:, self.rows.nearest()[:, None], self.columns.nearest()[None, :]]
        found[:, ~(self.rows.inside()[:, None] & self.columns.inside()[None, :])] = outside
        return found

    def grid(self, scan: Geometry) -> Geometry:
        """The geometry of the grid."""
        _, down, right = scan.steps
        origin = scan.origin + self.rows.centres()[0] * down + self.columns.centres()[0] * right
        steps = np.stack([scan.steps[0], down * self.rows.step, right * self.columns.step])
        return replace(scan, shape=(scan.shape[0], GRID, GRID), origin=origin, steps=steps)

    def check_lung(self, hu: np.ndarray, pixel_area: float) -> None:
        """Raises `InputError` unless the grid contains the lung, except for at most 1 cm² per slice.

        hu: (z, y, x) on the scan's own grid. pixel_area: mm².
        """
        cut = ~(self.rows.kept()[:, None] & self.columns.kept()[None, :])
        if not cut.any():
            return
        for slice_ in hu:
            area = float(np.count_nonzero(lung_mask(slice_, pixel_area) & cut)) * pixel_area
            check(
                bool(area <= MIN_REGION_AREA),
                f"the common grid of {GRID} pixels of {self.pixel:g} mm must contain the lung, got "
                f"{area / 100:.3g} cm² of lung outside it on one slice: use a larger --pixel-size",
                faq="scanner-options",
            )

    def described(self, grid: Geometry) -> str:
        """A note on the resampling."""
        before = grid.spacing[1] / self.rows.step
        return f"pixels of {before:.3g} mm resampled to {self.pixel:g} mm"
