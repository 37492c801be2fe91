"""Slices of a DICOM series, read one at a time, so that a long scan takes the memory of one slice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ildfv.errors import InputError
from ildfv.scans.dicom import Series
from ildfv.scans.frames import FrameReader
from ildfv.scans.geometry import MAX_RESAMPLED_TILT, reordered, to_canonical
from ildfv.scans.shifted import check_slices
from ildfv.scans.volume import check_shares, clipped, sampled


class FractionalHounsfieldError(Exception):
    """A slice has HU that are not integers of 16 bits: whether they are rounded depends on the whole scan."""


class SeriesSlices:
    """The slices of `read_series`, in the same order and with the same checks. They can be iterated several times.

    An iteration yields HU, int16 (rows, columns). It raises `InputError` with the name of the first slice that cannot
    be read, `FractionalHounsfieldError`, and, after the last slice, `InputError` if the values cannot be HU of a chest.
    """

    def __init__(self, series: Series):
        self._frames, self._grid = series.frames, series.grid
        self._order, self._flips, self.geometry = to_canonical(series.grid, MAX_RESAMPLED_TILT)

    def __len__(self) -> int:
        return len(self._frames)

    def __iter__(self) -> Iterator[np.ndarray]:
        reader, shape = FrameReader(), self._grid.shape[1:]
        in_plane = tuple(axis for axis in self._flips if axis)
        low, high, samples = np.inf, -np.inf, []
        for path, frame in reversed(self._frames) if 0 in self._flips else self._frames:
            hu = reader.hounsfield(path, frame)
            if hu.shape != shape:
                raise InputError(f"{path.name} must have shape {shape}, got {hu.shape}")
            if hu.dtype != np.int16:
                raise FractionalHounsfieldError
            hu = np.ascontiguousarray(reordered(hu[None], self._order, in_plane))
            least, greatest = float(hu.min()), float(hu.max())
            low, high = min(low, least), max(high, greatest)
            samples.append(sampled(hu)[0])
            yield clipped(hu, least, greatest)[0]
        sample = np.stack(samples)
        check_shares(sample, low, high)
        check_slices(sample, self.geometry.positions)
