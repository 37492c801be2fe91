"""Tilted or unevenly spaced scans, resampled onto an even grid along the patient's axes.

HU are interpolated linearly and labels take the value of the nearest voxel (`scipy.ndimage.map_coordinates`). The pixel
size does not change. The spacing of the new slices is the median spacing of the scan, and the centre voxel of the
scan's middle slice keeps its position.

At the ends of a tilted volume, an axial slice shows only a part of the body. These slices are omitted, because their
pattern counts would be too small.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ildfv.errors import InputError
from ildfv.scans.geometry import MAX_TILT, Geometry
from ildfv.scans.volume import PADDING, Volume, check_size

TISSUE = -300.0  # HU; a higher value at the edge of the volume means that the edge cuts through the body
MIN_COVERED = 0.5  # fraction of a slice that the volume must cover; the body is in the middle
ROUNDING = 1e-4  # voxels: tolerance for computed positions on the border of the volume
METHOD = "HU linearly, labels by nearest neighbour"


def must_resample(scan: Geometry) -> bool:
    """Whether the canonical grid of a scan is tilted or unevenly spaced, so that it is used only with `--resample`."""
    return scan.slices is not None or scan.tilt > MAX_TILT


@dataclass(frozen=True)
class Resampling:
    """Resampling from the canonical grid of a scan to an even grid along the patient's axes."""

    scan: Geometry
    grid: Geometry

    @classmethod
    def of(cls, scan: Geometry) -> Resampling:
        """Resampling to the even grid that contains the whole scan. Raises `InputError` if this grid is too large."""
        gaps = np.ones(1) if scan.slices is None else np.diff(scan.slices)
        usual = np.quantile(gaps, 0.5, method="lower")  # the lower median, which is one of the gaps
        spacing = scan.spacing * [usual, 1, 1]
        middle = np.array([scan.place(scan.shape[0] // 2), scan.shape[1] // 2, scan.shape[2] // 2])
        centre = (scan.origin + middle @ scan.steps)[::-1]  # mm, z, y, x
        corners = scan.corners()[:, ::-1]
        reach = np.array([centre - corners.min(axis=0), corners.max(axis=0) - centre]) / spacing  # (2, 3)
        # Steps before and after the centre. Rows and columns extend beyond the scan; slices stay inside it.
        steps = np.ceil(reach - ROUNDING).astype(int)
        steps[:, 0] = np.floor(reach[:, 0] + ROUNDING)
        # After the rotation, the scan may extend over fewer rows than it has. The grid keeps its number of rows.
        spare = np.maximum(0, np.array(scan.shape) - steps.sum(axis=0) - 1)
        spare[0] = 0
        steps += [(spare + 1) // 2, spare // 2]
        shape = tuple(int(n) for n in steps.sum(axis=0) + 1)
        check_size(shape)
        return cls(scan, Geometry(shape, (centre - steps[0] * spacing)[::-1], np.diag(spacing)[:, ::-1]))

    def hounsfield(self, hu: np.ndarray) -> tuple[np.ndarray, slice]:
        """The resampled HU of the axial slices that show the whole body, and which slices of the grid these are.

        hu: (z, y, x) on the scan's grid. The result has the same dtype, and padding outside the scan. Raises
        `InputError` if no slice shows the whole body.
        """
        from scipy import ndimage

        out = np.empty(self.grid.shape, np.float32)
        whole = np.zeros(len(out), bool)
        for z in range(len(out)):
            places, in_plane, in_slices = self._places(z)
            ndimage.map_coordinates(hu, places, output=out[z], order=1, mode="nearest")
            covered = in_plane & in_slices
            out[z][~covered] = PADDING
            beyond = ndimage.binary_dilation(in_plane & ~in_slices)  # the last covered pixels before the volume ends
            whole[z] = covered.mean() >= MIN_COVERED and not (out[z][covered & beyond] > TISSUE).any()
        kept = _longest_run(whole)
        if kept.stop == kept.start:
            raise InputError(
                f"a scan tilted by {self.scan.tilt:.1f}° must contain whole axial slices, got none: it covers too "
                "little of the body along its axis"
            )
        out = out[kept]
        return np.rint(out).astype(np.int16) if hu.dtype == np.int16 else out, kept

    def labels(self, labels: np.ndarray, kept: slice, outside: int) -> np.ndarray:
        """The labels on the kept slices, by nearest neighbour; `outside` beyond the scan. labels: uint8 (z, y, x)."""
        from scipy import ndimage

        out = np.empty((kept.stop - kept.start, *self.grid.shape[1:]), labels.dtype)
        for z in range(kept.start, kept.stop):
            places, in_plane, in_slices = self._places(z)
            ndimage.map_coordinates(labels, places, output=out[z - kept.start], order=0, mode="nearest")
            out[z - kept.start][~(in_plane & in_slices)] = outside
        return out

    def kept_grid(self, kept: slice) -> Geometry:
        """The grid of the kept slices."""
        origin = self.grid.origin + kept.start * self.grid.steps[0]
        return Geometry((kept.stop - kept.start, *self.grid.shape[1:]), origin, self.grid.steps)

    def description(self, kept: slice) -> str:
        """The reasons for the resampling and its method as text, for reports."""
        causes = []
        if self.scan.slices is not None:
            gaps = np.diff(self.scan.slices) * self.scan.spacing[0]
            causes.append(f"gaps of {gaps.min():.3g} … {gaps.max():.3g} mm")
        if self.scan.tilt > MAX_TILT:
            causes.append(f"a tilt of {self.scan.tilt:.1f}°")
        text = f"resampled because of {' and '.join(causes)}: slices {self.grid.spacing[0]:.3g} mm apart, {METHOD}"
        left = self.grid.shape[0] - (kept.stop - kept.start)
        return text + (f"; omitted slices that the scan covers only partially: {left}" if left else "")

    def _places(self, z: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Voxel indices in the scan of the pixels of slice z, (3, rows, columns); two masks of the pixels in the scan.

        The masks (rows, columns) are True inside the rows and columns of the scan, and between its end slices.
        """
        _, rows, columns = self.grid.shape
        inverse = np.linalg.inv(self.scan.steps)
        start = (self.grid.origin + z * self.grid.steps[0] - self.scan.origin) @ inverse
        down, right = self.grid.steps[1] @ inverse, self.grid.steps[2] @ inverse
        places = (
            start[:, None, None]
            + down[:, None, None] * np.arange(rows)[:, None]
            + right[:, None, None] * np.arange(columns)
        )
        last = np.array(self.scan.shape)[:, None, None] - 1
        inside = (places > -ROUNDING) & (places < last + ROUNDING)
        if self.scan.slices is not None:
            places[0] = np.interp(places[0], self.scan.slices, np.arange(self.scan.shape[0]))
        return np.clip(places, 0, last), inside[1] & inside[2], inside[0]


def resampled(volume: Volume) -> tuple[Volume, Callable[[np.ndarray, int], np.ndarray], str]:
    """The scan on an even axial grid; a function that resamples its labels; and a description ("" if unchanged).

    volume: a scan on its canonical grid. The function takes labels (z, y, x) on that grid, and the value for voxels
    beyond the scan. Raises the errors of `Resampling.of` and `Resampling.hounsfield`.
    """
    if not must_resample(volume.geometry):
        return volume, lambda labels, outside: labels, ""
    plan = Resampling.of(volume.geometry)
    hu, kept = plan.hounsfield(volume.hu)
    result = replace(volume, hu=hu, geometry=plan.kept_grid(kept))
    return result, lambda labels, outside: plan.labels(labels, kept, outside), plan.description(kept)


def _longest_run(values: np.ndarray) -> slice:
    """The longest run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], values, [False]]).astype(int)))
    runs = [slice(int(start), int(stop)) for start, stop in zip(edges[::2], edges[1::2], strict=True)]
    return max(runs, key=lambda run: run.stop - run.start, default=slice(0, 0))
