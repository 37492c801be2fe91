"""The body without lungs on an axial plane in HU: fat, muscle, organs, bone, skin, and the table."""

from collections.abc import Iterator

import numpy as np

from ildfv.kernels.drawing import Layers, doubled, draw_layers
from ildfv.phantom.bones import bones
from ildfv.phantom.chest import FAR, Chest
from ildfv.phantom.fields import Box
from ildfv.phantom.section import Section
from ildfv.phantom.shapes import coverage, ellipse, mix, smooth_max, superellipse

AIR, FAT, MUSCLE, BLOOD, ORGAN, CORTEX, SKIN, TABLE = -1000.0, -95.0, 52.0, 42.0, 56.0, 620.0, 30.0, -250.0


def body(chest: Chest, at: Section) -> np.ndarray:
    """HU of the body with mediastinal fat instead of lungs, and of the air and table around it.

    Soft tissue is drawn at half the resolution, skin and bone at full resolution.

    Parameters
    ----------
    chest : Chest
    at : Section
        At half the resolution, (rows, size / 2).

    Returns
    -------
    ndarray of shape (size, size), float32 or float64
    """
    skin, fat = skin_and_fat(chest, at)
    soft = soft_tissue(chest, at, fat)
    size, rows = 2 * at.grid.size, slice(2 * at.rows.start, 2 * at.rows.stop)
    hu, outside = np.full((size, size), AIR, soft.dtype), np.full((size, size), FAR, np.float32)
    layers = Layers(at.grid.pixel / 2, CORTEX, cortex_thickness=1.7, skin=SKIN, skin_thickness=2.0, air=AIR)
    hu[rows] = draw_layers(soft, *bones(chest, at), skin, layers)
    outside[rows] = doubled(skin)
    return with_table(chest, hu, outside)


def soft_tissue(chest: Chest, at: Section, fat: np.ndarray) -> np.ndarray:
    """HU of fat, muscle and organs, (rows, columns).

    fat: signed distance to the inner surface of the subcutaneous fat, mm, of the same shape.
    """
    pixel = at.grid.pixel
    marbling = chest.marbling(at.grid.part(np.s_[at.rows, :]), at.z)
    hu = np.full(at.x.shape, FAT, np.float32) + 8 * marbling
    muscle = coverage(fat, pixel)
    hu = mix(hu, muscle, MUSCLE)
    septa = np.abs(np.sin((at.cage + 5 * marbling) / 6.5)) + 0.5 * np.abs(marbling)  # fat between muscle layers
    hu = mix(hu, 0.8 * muscle * np.clip(1 - septa / 0.3, 0, 1) * (at.cage > 10), FAT)
    hu = mix(hu, coverage(at.cage, pixel), FAT + 25)
    for box, distance, value in organs(chest, at):
        drawn = mix(hu[box], coverage(distance, pixel), value)
        hu = hu.astype(drawn.dtype, copy=False)
        hu[box] = drawn
    return hu


def skin_and_fat(chest: Chest, at: Section) -> tuple[np.ndarray, np.ndarray]:
    """Signed distances to the skin and to the inner surface of the subcutaneous fat, mm, (rows, columns) each."""
    fat = chest.patient.fat
    lateral = np.abs(at.x) / chest.patient.half_width
    breast = chest.breast(at.z) * np.exp(-(((np.abs(at.x) - 70) / 45) ** 2)) * (at.y < 0)
    skin = superellipse(at.x, at.y - 3, *chest.skin_axes(at.z), 2.5) - breast
    layer = fat * (0.5 + 0.5 * np.clip(3 * (1.1 - lateral), 0, 1))
    return skin, skin + np.maximum(layer + breast, 3)


def organs(chest: Chest, at: Section) -> Iterator[tuple[Box, np.ndarray, float]]:
    """The organs inside the rib cage in drawing order: a box that contains it, signed distance in the box (mm), HU."""
    p, z, u, spine = chest.patient, at.z, at.z / chest.patient.height, chest.spine_y

    def disc(x: float, y: float, radius: float, origin: float = 0.0) -> tuple[Box, np.ndarray]:
        box = at.around(x, origin + y, radius, radius)
        return box, np.hypot(at.x[box] - x, at.y[box] - origin - y) - radius

    if u < 0.5:  # below the diaphragm: liver on the right, spleen and stomach on the left, fat between them
        # Beyond 1.15 times its half-axes, a dome of the diaphragm is more than 6 mm below the plane.
        reach_x, reach_y = (0.46 + 1.15 * 0.52) * p.half_width, 1.15 * 0.98 * p.half_depth
        box = at.box((-reach_x, reach_x), (-10 - reach_y, -10 + reach_y))
        x, y = at.x[box], at.y[box]
        below = z - chest.diaphragm(x, y) + 3
        yield box, smooth_max(below, x - 18, 4), ORGAN + 4
        yield box, smooth_max(below, np.maximum(28 - x, 10 - y), 4), ORGAN - 6
        yield box, smooth_max(below, ellipse(x - 55, y + 30, 42, 34), 4), 28.0
    heart = 1 - ((u - 0.29) / 0.26) ** 2
    if heart > 0:
        size = p.heart * np.sqrt(heart)
        half_depth = 44 * size + 2 * at.grid.pixel
        box = at.box((-np.inf, np.inf), (-22 - half_depth, -22 + half_depth))
        turned = at.x[box] - 22 - 0.25 * (at.y[box] + 20)
        yield box, ellipse(turned, at.y[box] + 22, 55 * size, 44 * size), BLOOD
    if u < 0.74:
        yield *disc(22, -22, 12, origin=spine), BLOOD
    if 0.68 < u < 0.78:
        box = at.around(14, 4, 20, 31)
        yield box, ellipse(at.x[box] - 14, at.y[box] - 4, 20, 31), BLOOD
    if u > 0.5:
        yield *disc(-24, -20, 8.5), BLOOD - 4  # superior vena cava
    if 0.5 < u < 0.7:
        yield *disc(-8, -30, 15), BLOOD + 3  # ascending aorta
        yield *disc(20, -32, 12), BLOOD  # pulmonary trunk
    if u > 0.78:
        for centre in ((-14, -14), (4, -16), (16, 0)):
            yield *disc(*centre, 5.5), BLOOD
    yield *disc(6, -29, 7, origin=spine), MUSCLE - 12  # oesophagus
    box = at.around(0, spine + 36, 30 + 17, 17)
    yield box, np.hypot(np.abs(at.x[box]) - 30, at.y[box] - spine - 36) - 17, MUSCLE  # erector spinae


def with_table(chest: Chest, hu: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """`hu` (size, size) with the table behind the body, modified in place. skin: signed distance to the skin, mm."""
    p = chest.patient
    grid = p.grid
    curve = (grid.x / 42) ** 2 * 0.9
    depth = grid.y - (p.half_depth + 29 + 0.5 * p.fat)
    near = np.flatnonzero(np.abs(depth + curve).min(axis=1) < 1.5 + grid.pixel)
    if len(near):
        rows = slice(near[0], near[-1] + 1)
        share = coverage(np.abs(depth[rows] + curve) - 1.5, grid.pixel) * (skin[rows] > 3)
        hu[rows] = mix(hu[rows], share, TABLE)
    return hu
