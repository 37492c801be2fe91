"""Vessels and airways: branching trees that fill the lungs, and their intersection with a plane."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ildfv.kernels.drawing import draw_tubes
from ildfv.phantom.chest import Chest
from ildfv.phantom.fields import WHOLE, Box, Grid

LEVELS = 12  # bifurcations of a vessel tree: 2¹² end branches per lung and kind
LARGE = 1.1  # mm; vessels of at least this radius remain visible in diseased lung, smaller ones fade in fibrosis
AIRWAY_LEVELS = 5  # about as many generations of bronchi as CT resolves


@dataclass(frozen=True)
class Tubes:
    """Straight tube segments: start and end (n, 3) as (x, y, z) mm, radius (n,) mm."""

    start: np.ndarray
    end: np.ndarray
    radius: np.ndarray

    @classmethod
    def joined(cls, parts: list["Tubes"]) -> "Tubes":
        """The tubes of all parts."""
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("start", "end", "radius")))

    def where(self, chosen: np.ndarray) -> "Tubes":
        """The tubes for which `chosen`, bool (n,), is True."""
        return Tubes(self.start[chosen], self.end[chosen], self.radius[chosen])

    @cached_property
    def span(self) -> tuple[np.ndarray, np.ndarray]:
        """The lowest and highest z of each axis, (n,) mm."""
        return np.minimum(self.start[:, 2], self.end[:, 2]), np.maximum(self.start[:, 2], self.end[:, 2])

    def cut(self, grid: Grid, z: float, thickness: float, *, widen: float = 0.0, box: Box = WHOLE) -> np.ndarray:
        """Fraction of each pixel in `box` that tubes fill in a section at height z, float32 (rows, columns).

        thickness: of the section, mm. widen: increase of all radii, mm.
        """
        radius = self.radius + widen
        margin = radius + thickness / 2
        low, high = self.span
        hit = (low - margin < z) & (high + margin > z)
        a, b, radius, margin = self.start[hit], self.end[hit], radius[hit], margin[hit]
        (top, bottom), (left, right) = (axis_slice.indices(grid.size)[:2] for axis_slice in box)
        share = np.zeros((bottom - top, right - left), np.float32)
        if not len(a):
            return share
        # The bounding box of the part of the axis near the plane contains every pixel that the tube can reach.
        axis = b - a
        rise = np.where(np.abs(axis[:, 2]) < 1e-6, 1e-6, axis[:, 2])
        t = np.stack([(z - margin - a[:, 2]) / rise, (z + margin - a[:, 2]) / rise])
        t = np.clip(np.sort(t, axis=0), 0, 1)
        ends = a[None, :, :2] + t[:, :, None] * axis[None, :, :2]  # (2, n, xy)
        first = np.floor((ends.min(axis=0) - margin[:, None] - grid.axis[0]) / grid.pixel).astype(int)
        last = np.ceil((ends.max(axis=0) + margin[:, None] - grid.axis[0]) / grid.pixel).astype(int) + 1
        first, last = (np.clip(edge, (left, top), (right, bottom)) for edge in (first, last))
        boxes = np.stack([first[:, 0], last[:, 0], first[:, 1], last[:, 1]], axis=1)
        squared_length = np.maximum((axis * axis).sum(axis=1), 1e-6)
        opacity = np.minimum(1, 2 * radius / max(grid.pixel, thickness))
        tubes = np.column_stack([a, axis, squared_length, radius, opacity])
        height = float(np.float32(z))
        draw_tubes(share, (top, left), tubes, boxes, grid.axis, z=height, thickness=thickness, pixel=grid.pixel)
        return share


def grow(points: np.ndarray, root: np.ndarray, rng: np.random.Generator, *, radius: float, last: float) -> list[Tubes]:
    """A tree from `root` to every point, one `Tubes` per level, with radii that decrease from `radius` to `last` mm.

    points: (2**levels, 3). At each level every group of points is split in two along its longest axis, and a branch
    runs from the end of its parent towards the centre of the group, so that the tree fills the lung evenly.
    """
    levels = len(points).bit_length() - 1
    groups = points[None]  # (groups, points in each, 3)
    tips = root[None]
    tubes = []
    for level in range(levels + 1):
        centre = groups.mean(axis=1)
        pull = 0.62 if level < levels else 1.0
        ends = tips + pull * (centre - tips) * (1 + 0.1 * rng.standard_normal((len(tips), 1)))
        ends += rng.standard_normal(ends.shape) * 0.06 * np.linalg.norm(ends - tips, axis=1, keepdims=True)
        size = radius * (last / radius) ** ((level / levels) ** 0.8) * rng.uniform(0.75, 1.25, len(tips))
        tubes.append(Tubes(tips, ends, size))
        if level == levels:
            break
        centred = groups - centre[:, None]
        longest = np.eye(3)[np.argmax(centred.var(axis=1), axis=1)] + 0.35 * rng.standard_normal((len(groups), 3))
        order = np.argsort((centred * longest[:, None]).sum(axis=2), axis=1)
        groups = np.take_along_axis(groups, order[:, :, None], axis=1).reshape(2 * len(groups), -1, 3)
        tips = np.repeat(ends, 2, axis=0)
    return tubes


class Trees:
    """Arteries with adjacent bronchi, veins, trachea and main bronchi of one chest."""

    def __init__(self, chest: Chest):
        p = chest.patient
        rng = p.rng("trees")
        inside = lung_points(chest, rng)
        carina = np.array([2.0, -2.0, 0.66 * p.height])
        top = np.array([1.0, -8.0, 1.15 * p.height])
        self.arteries = []  # for each lung, one `Tubes` per level
        vessels, airways = [], [Tubes(top[None], carina[None], np.array([8.2 if p.female else 9.2]))]
        for side in (-1, 1):
            lung = inside[np.sign(inside[:, 0]) == side]
            hilum = np.array([side * 0.27 * p.half_width + 4, 4.0, 0.56 * p.height])
            airways.append(Tubes(carina[None], hilum[None], np.array([6.3])))
            artery, vein = (rng.permutation(len(lung))[: 2**LEVELS] for _ in range(2))
            arteries = grow(lung[artery], hilum + np.array([side * 3, -9, 3]), rng, radius=6.6, last=0.32)
            self.arteries.append(arteries)
            vessels += arteries
            vessels += grow(lung[vein], hilum + np.array([-side * 6, 2, -22]), rng, radius=6.2, last=0.30)
            for level, branch in enumerate(arteries[1 : AIRWAY_LEVELS + 1]):
                offset = branch.radius[:, None] * np.array([0.9, 1.5, 0.4]) * (1.1 + 0.1 * level)
                airways.append(Tubes(branch.start + offset, branch.end + offset, 0.66 * branch.radius))
        every = Tubes.joined(vessels)
        self.large, self.small = every.where(every.radius >= LARGE), every.where(every.radius < LARGE)
        self.airways = Tubes.joined(airways)


def lung_points(chest: Chest, rng: np.random.Generator, step: float = 6.0) -> np.ndarray:
    """Random points at least 3 mm inside the lungs, (n, 3) mm; more in each lung than a tree has end branches."""
    p = chest.patient
    grid = Grid(int(2 * p.reach / step), step)
    planes = []
    for z in np.arange(step / 2, p.height, step):
        row, column = np.nonzero(chest.lung(grid, z) < -3)
        planes.append(np.stack([grid.axis[column], grid.axis[row], np.full(len(row), z)], axis=1))
    centres = np.concatenate(planes)
    per_side = min((centres[:, 0] < 0).sum(), (centres[:, 0] > 0).sum())
    copies = -(-int(1.1 * 2**LEVELS) // int(per_side))  # jitter moves a few points across the midline
    points = np.repeat(centres, copies, axis=0)
    return rng.permutation(points + rng.uniform(-step / 2, step / 2, points.shape))
