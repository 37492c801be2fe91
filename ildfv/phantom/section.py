"""The part of an axial plane that contains the body, and the boxes in it that contain a shape."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ildfv.phantom.fields import Box, Grid

Interval = tuple[float, float]


@dataclass(frozen=True)
class Section:
    """The rows of a plane that contain the body. All planes have shape (rows, columns), lengths are in mm.

    x and y are the coordinates of the pixels after a smooth deformation, which makes the chest irregular. Shapes are
    defined in these coordinates.
    """

    grid: Grid
    z: float
    rows: slice
    x: np.ndarray
    y: np.ndarray
    sway: np.ndarray  # the deformation along y, without unit
    cage: np.ndarray  # signed distance to the inner surface of the whole rib cage

    def box(self, x: Interval, y: Interval) -> Box:
        """A box that contains all pixels with coordinates in these intervals; empty if there are none."""
        return np.s_[reached(self._down, y), reached(self._across, x)]

    def around(self, x: float, y: float, a: float, b: float) -> Box:
        """A box that contains the ellipse with half-axes a, b around (x, y) and all pixels that it intersects."""
        wider = 1 + self.grid.pixel / min(a, b)
        return self.box((x - a * wider, x + a * wider), (y - b * wider, y + b * wider))

    @cached_property
    def _across(self) -> tuple[np.ndarray, np.ndarray]:
        return self.x.min(axis=0), self.x.max(axis=0)

    @cached_property
    def _down(self) -> tuple[np.ndarray, np.ndarray]:
        return self.y.min(axis=1), self.y.max(axis=1)


def reached(coordinates: tuple[np.ndarray, np.ndarray], interval: Interval) -> slice:
    """The range of lines (rows or columns) that have coordinates in the interval.

    coordinates: the lowest and the highest coordinate of each line, (n,) each.
    """
    (lowest, highest), (low, high) = coordinates, interval
    lines = np.flatnonzero((highest >= low) & (lowest <= high))
    return slice(int(lines[0]), int(lines[-1]) + 1) if len(lines) else slice(0, 0)
