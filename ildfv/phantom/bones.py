"""Ribs, sternum, vertebrae, scapulae and clavicles on an axial plane."""

from collections.abc import Iterator

import numpy as np

from ildfv.phantom.chest import FAR, Chest
from ildfv.phantom.fields import WHOLE, Box
from ildfv.phantom.section import Section
from ildfv.phantom.shapes import ellipse, superellipse

MARROW, CARTILAGE, DISC = 190.0, 105.0, 85.0  # HU
ELSEWHERE = 9.0  # mm; used as the distance to a bone where its formula does not apply
# Each bone is drawn in a box with a margin of at least this many mm. Distances outside the box are not needed, because
# the surface affects only pixels within 2 mm.
BEYOND = 15.0


def bones(chest: Chest, at: Section) -> tuple[np.ndarray, np.ndarray]:
    """Signed distance to the nearest bone in mm, and the HU of its marrow, (rows, columns) float32 each."""
    distance, marrow = np.full_like(at.x, FAR), np.full_like(at.x, MARROW)
    for box, part, inside in each(chest, at):
        nearest = distance[box]
        marrow[box][part < nearest] = inside
        np.minimum(nearest, part, out=nearest)
    return distance, marrow


def each(chest: Chest, at: Section) -> Iterator[tuple[Box, np.ndarray, float]]:
    """For each bone: its box, the signed distance to its surface in the box, mm, and the HU of its marrow."""
    z, u, spine = at.z, at.z / chest.patient.height, chest.spine_y + 4
    if u < 0.93:
        # Ribs are oblique rings around the cage; a plane intersects a few of them. Anteriorly they are cartilage.
        level = (z - chest.tilt * at.y - chest.rib_phase + 4 * at.sway) / 23.0
        rise = np.abs(level - np.round(level)) * 23.0
        ring = 4.2 * (np.hypot((at.cage - 6.0) / 3.9, rise / 6.2) - 1)
        front = (np.abs(at.x) < 42) & (at.y < 0)
        yield WHOLE, np.where(front, ELSEWHERE, ring), MARROW
        yield WHOLE, np.where(front & (np.abs(at.x) > 16) & (u < 0.8), ring + 1.5, ELSEWHERE), CARTILAGE
    if 0.3 < u < 0.9:
        half_width = 16 + 80 * max(u - 0.75, 0)
        box = at.box((-half_width - BEYOND, half_width + BEYOND), (-np.inf, BEYOND))
        sternum = np.maximum(np.abs(at.x[box]) - 16 - 80 * max(u - 0.75, 0), np.abs(at.cage[box] - 6) - 4.5)
        yield box, np.where(at.y[box] < 0, sternum, ELSEWHERE), MARROW - 60
    phase = (z - chest.disc_phase) / 25
    disc = abs(phase - round(phase)) * 25 < 3.5
    box = at.box((-18 - BEYOND, 18 + BEYOND), (spine - 14.5 - BEYOND, spine + 14.5 + BEYOND))
    # A disc has a bony rim, which represents the end plates.
    yield box, superellipse(at.x[box], at.y[box] - spine, 18, 14.5, 2.4), DISC if disc else MARROW
    box = at.box((-38 - 2 * BEYOND, 38 + 2 * BEYOND), (spine - BEYOND, spine + 52 + BEYOND))
    yield box, arch(at.x[box], at.y[box] - spine, disc), MARROW
    if 0.45 < u < 1.05:
        # The scapula lies on the posterior surface of the cage and widens upwards.
        front = -0.1 * chest.patient.half_depth
        box = at.box((-np.inf, np.inf), (front - BEYOND, np.inf))
        x, y = at.x[box], at.y[box]
        along = np.abs(x) - (58 + 55 * (u - 0.4))
        beside = np.maximum(np.abs(along) - (14 + 22 * (u - 0.45)), 0)
        blade = np.hypot(beside, at.cage[box] - 19 - 0.1 * along) - 2.4
        yield box, np.where(y > front, blade, ELSEWHERE), MARROW + 60
    if u > 0.9:
        box = at.box((-102 - BEYOND, 102 + BEYOND), (-56 - BEYOND, -6 + BEYOND))
        x, y = at.x[box], at.y[box]
        clavicle = np.hypot(np.maximum(np.abs(np.abs(x) - 62) - 34, 0), y + 34 + 0.35 * (np.abs(x) - 62)) - 6
        yield box, clavicle, MARROW


def arch(x: np.ndarray, y: np.ndarray, disc: bool) -> np.ndarray:
    """Signed distance to the posterior part of a vertebra, mm, in the shape of x and y.

    x, y: mm from the centre of the vertebra. disc: whether the plane intersects an intervertebral disc.
    """
    ring = np.minimum(np.abs(np.hypot(x, y - 19) - 11.5) - 3, ellipse(x, y - 38, 3.4, 14))
    if disc:
        return ring
    return np.minimum(ring, ellipse(np.abs(x) - 24, y - 22 - 0.35 * (np.abs(x) - 24), 14, 4))
