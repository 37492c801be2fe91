"""C++ loops for drawing phantoms. Results have the same bits as those of the NumPy or SciPy functions they replace."""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np

from ildfv.kernels import _native


def smooth_lines(image: np.ndarray, half: np.ndarray, axis: int) -> np.ndarray:
    """Σ_j half[|j|] · image shifted by j along `axis`, of the image's dtype and computed in float64.

    image: (rows, columns), float32 or float64. half: (radius + 1,) weights. The edge is continued by reflection.
    """
    image, out = np.ascontiguousarray(image), np.empty(image.shape, image.dtype)
    if image.size:
        _native.smooth_lines(image, np.ascontiguousarray(half, np.float64), axis, out)
    return out


@dataclass(frozen=True)
class Taps:
    """For each of n places along an axis, the four knots around it and their weights, (4, n) int64 and float32."""

    index: np.ndarray
    weights: np.ndarray

    def part(self, places: slice) -> Taps:
        return Taps(*(np.ascontiguousarray(a[:, places]) for a in (self.index, self.weights)))


def spline_plane(knots: np.ndarray, rows: Taps, columns: Taps) -> np.ndarray:
    """Weighted sums of four knots along x, then of four such sums along y, in ascending order, float32 (rows, columns).

    knots: (any number, any number). All indices of `rows` and `columns` must be valid.
    """
    out = np.empty((rows.index.shape[1], columns.index.shape[1]), np.float32)
    if out.size:
        knots = np.ascontiguousarray(knots, np.float32)
        _native.spline_plane(knots, rows.index, rows.weights, columns.index, columns.weights, out)
    return out


def nearest_points(
    points: np.ndarray, x: np.ndarray, y: np.ndarray, z: float, *, spacing: float, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Distances float32 and indices int64 of the `count` points nearest to each (x, y) of the plane z: (count, n).

    points: (m, 3) as z, y, x, with m ≥ count. spacing: the approximate mean distance of the points, which affects only
    the time.
    """
    points, x, y = (np.ascontiguousarray(a, np.float32) for a in (points, x, y))
    distance, index = np.empty((count, len(x)), np.float32), np.empty((count, len(x)), np.int64)
    if len(x):
        _native.nearest_points(points, x, y, z, spacing, distance, index)
    return distance, index


def doubled(plane: np.ndarray) -> np.ndarray:
    """The plane at twice the resolution by linear interpolation, (2·rows, 2·columns), float32 or float64 like it."""
    plane = np.ascontiguousarray(plane)
    out = np.empty((2 * plane.shape[0], 2 * plane.shape[1]), plane.dtype)
    if out.size:
        _native.doubled(plane, out)
    return out


def distance_to_outside(inside: np.ndarray) -> np.ndarray:
    """Distance in pixels of each pixel to the nearest one that is False, float64 (rows, columns).

    inside: (rows, columns) bool, with at least one False.
    """
    out = np.empty(inside.shape)
    if out.size:
        _native.distance_to_outside(np.ascontiguousarray(inside, bool).view(np.uint8), out)
    return out


@dataclass(frozen=True)
class Layers:
    """HU and thicknesses in mm of the layers that `draw_layers` draws over soft tissue. pixel: mm, full resolution."""

    pixel: float
    cortex: float
    cortex_thickness: float
    skin: float
    skin_thickness: float
    air: float


def draw_layers(soft: np.ndarray, bone: np.ndarray, marrow: np.ndarray, skin: np.ndarray, layers: Layers) -> np.ndarray:
    """HU of a body of soft tissue, bone and skin, with air around it, (2·rows, 2·columns), of the dtype of `soft`.

    All planes have half the resolution, (rows, columns). soft: HU, float32 or float64. bone, skin: signed distances to
    their surfaces in mm, negative inside, float32. marrow: HU of the marrow, float32.
    """
    out = np.empty((2 * soft.shape[0], 2 * soft.shape[1]), soft.dtype)
    if out.size:
        planes = [np.ascontiguousarray(plane) for plane in (soft, bone, marrow, skin)]
        _native.draw_layers(*planes, np.array(astuple(layers), np.float32), out)
    return out


def draw_tubes(
    share: np.ndarray,
    corner: tuple[int, int],
    tubes: np.ndarray,
    boxes: np.ndarray,
    axis: np.ndarray,
    *,
    z: float,
    thickness: float,
    pixel: float,
) -> None:
    """Raises `share`, where it is lower, to the fraction of each pixel that a straight tube fills, times its opacity.

    Parameters
    ----------
    share : ndarray of shape (rows, columns), float32
        Modified. Its first pixel is at row `corner[0]` and column `corner[1]` of the plane.
    tubes : ndarray of shape (n, 9), float64
        Start (x, y, z), axis (x, y, z), squared length, radius in mm and opacity 0 … 1 of each.
    boxes : ndarray of shape (n, 4), int64
        Columns [left, right) and rows [top, bottom) of the plane that each tube can reach; they must be inside `share`.
    axis : ndarray of shape (size,), float32
        Coordinates of the plane's pixels along x and y, mm.
    z, thickness, pixel : float
        Height and thickness of the section and size of a pixel, mm.
    """
    if len(tubes) and share.size:
        _native.draw_tubes(
            np.ascontiguousarray(tubes, np.float64),
            np.ascontiguousarray(boxes, np.int64),
            axis,
            z,
            thickness / 2,
            pixel,
            *corner,
            share,
        )
