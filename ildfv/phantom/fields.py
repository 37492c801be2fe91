"""Smooth random functions and random cells in space, evaluated on any plane."""

from dataclasses import dataclass
from functools import cached_property
from zlib import crc32

import numpy as np

from ildfv.kernels.drawing import Taps, nearest_points, spline_plane

# The variance of a cubic B-spline with white knots of variance 1, averaged over position, is 151/315 per axis.
SPLINE_SD = (151 / 315) ** 1.5
Box = tuple[slice, slice]  # range of rows and range of columns
WHOLE = np.s_[:, :]  # all rows and columns


def stream(seed: int, patient: int, *purpose) -> np.random.Generator:
    """The random generator of a patient for one purpose. Draws for one purpose do not change those for another."""
    return np.random.default_rng([seed, patient, *(crc32(str(p).encode()) for p in purpose)])


@dataclass(frozen=True)
class Grid:
    """Pixel centres of an axial plane: `size` × `size`, `pixel` mm apart, centred at (0, 0) mm."""

    size: int
    pixel: float

    @cached_property
    def axis(self) -> np.ndarray:
        """Coordinates along x or y, mm, (size,) float32."""
        return ((np.arange(self.size) - (self.size - 1) / 2) * self.pixel).astype(np.float32)

    @property
    def x(self) -> np.ndarray:
        return self.axis[None, :]  # increases towards the patient's left

    @property
    def y(self) -> np.ndarray:
        return self.axis[:, None]  # increases posteriorly

    def coarse(self, factor: int) -> "Grid":
        """The same square with pixels larger by `factor`."""
        return Grid(self.size // factor, self.pixel * factor)

    def part(self, box: Box) -> "Part":
        """The pixels in `box`."""
        return Part(self, box)


@dataclass(frozen=True)
class Part:
    """A rectangle of the pixels of a grid."""

    grid: Grid
    box: Box

    @property
    def x(self) -> np.ndarray:
        return self.grid.x[:, self.box[1]]  # (1, columns)

    @property
    def y(self) -> np.ndarray:
        return self.grid.y[self.box[0]]  # (rows, 1)


def taps(coordinates, low: float, scale: float, count: int) -> Taps:
    """The knots around each coordinate, and their cubic B-spline weights. coordinates: mm, a number or (n,)."""
    position = (np.asarray(coordinates, np.float64) - low) / scale
    first = np.floor(position)
    f = position - first
    weights = [(1 - f) ** 3 / 6, (3 * f**3 - 6 * f**2 + 4) / 6, (-3 * f**3 + 3 * f**2 + 3 * f + 1) / 6, f**3 / 6]
    index = np.add.outer(np.arange(-1, 3), first.astype(np.int64))
    return Taps(np.minimum(np.maximum(index, 0), count - 1), np.array(weights, np.float32))


class Field:
    """A smooth random function of (x, y, z) with mean 0, variance 1 and correlation length of about `scale` mm."""

    def __init__(self, rng: np.random.Generator, scale: float, *, reach: float, height: float):
        self.scale = scale
        self.low = (-2 * scale - 20, -reach - 2 * scale, -reach - 2 * scale)  # z, y, x
        count = [int(np.ceil((size + 4 * scale + 40) / scale)) + 2 for size in (height, 2 * reach, 2 * reach)]
        self.knots = rng.standard_normal(count, dtype=np.float32) / np.float32(SPLINE_SD)
        self._across: dict[Grid, Taps] = {}

    def __call__(self, grid: "Grid | Part", z: float) -> np.ndarray:
        """Values at the pixels of a grid, or of a part of it, on the plane at height z mm, (rows, columns) float32."""
        part = grid.part(WHOLE) if isinstance(grid, Grid) else grid
        up = taps(z, self.low[0], self.scale, self.knots.shape[0])
        knots = sum(w * self.knots[k] for k, w in zip(up.index, up.weights, strict=True))
        across = self.across(part.grid)
        return spline_plane(knots, across.part(part.box[0]), across.part(part.box[1]))

    def across(self, grid: Grid) -> Taps:
        """The taps of the grid's pixels along x, which are also the taps along y; computed once."""
        if grid not in self._across:
            self._across[grid] = taps(grid.axis, self.low[2], self.scale, self.knots.shape[2])
        return self._across[grid]


class Cells:
    """Random points about `spacing` mm apart. Networks, cysts and holes are functions of the distances to these points.

    `stretch` > 1 elongates the cells along z, like lobules and honeycomb cysts.
    """

    def __init__(self, rng: np.random.Generator, spacing: float, *, reach: float, height: float, stretch: float = 1.0):
        self.spacing, self.stretch = spacing, stretch
        axes = [
            np.arange(-3 * spacing, height / stretch + 3 * spacing, spacing),
            *[np.arange(-reach, reach, spacing)] * 2,
        ]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).astype(np.float32)  # (layers, rows, columns, zyx)
        points[:, :, 1::2, 1] += spacing / 2  # staggered, to avoid visible rows and columns
        self.points = points + rng.uniform(-0.45, 0.45, points.shape).astype(np.float32) * np.float32(spacing)
        self.sizes = rng.uniform(0, 1, points.shape[:3]).astype(np.float32)

    def near(self, x: np.ndarray, y: np.ndarray, z: float, count: int):
        """Distances in mm, ascending, and sizes in [0, 1) of the `count` points nearest to (x, y, z), (count, n).

        In these distances, lengths along z are divided by `stretch`.
        """
        z = z / self.stretch
        layer = round(z / self.spacing) + 3
        layers = slice(max(layer - 2, 0), layer + 3)
        points = self.points[layers].reshape(-1, 3)
        inside = (np.abs(points[:, 2] - (x.min() + x.max()) / 2) < np.ptp(x) / 2 + 3 * self.spacing) & (
            np.abs(points[:, 1] - (y.min() + y.max()) / 2) < np.ptp(y) / 2 + 3 * self.spacing
        )
        distance, index = nearest_points(points[inside], x, y, float(np.float32(z)), spacing=self.spacing, count=count)
        return distance, self.sizes[layers].reshape(-1)[inside][index]


def bounds(mask: np.ndarray, *, margin: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The range [low, high) of the True pixels along both axes, widened by `margin`; at least one must be True."""
    lines = [np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))]
    low = np.array([line[0] for line in lines]) - margin
    high = np.array([line[-1] for line in lines]) + 1 + margin
    return np.maximum(low, 0), np.minimum(high, mask.shape)


def bounding_box(mask: np.ndarray, *, margin: int = 0) -> Box:
    """The rows and columns of `bounds`."""
    low, high = bounds(mask, margin=margin)
    return np.s_[low[0] : high[0], low[1] : high[1]]
