"""Chest anatomy without vessels: lung, bone, muscle, fat and heart on an axial plane, as signed distances in mm."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ildfv.phantom.fields import Field, Grid, bounds, coverage, doubled, smooth_max
from ildfv.phantom.patient import Patient

AIR, FAT, MUSCLE, BLOOD, ORGAN = -1000.0, -95.0, 52.0, 42.0, 56.0
MARROW, CORTEX, CARTILAGE, DISC = 190.0, 620.0, 105.0, 85.0

# Shape of one half of the rib cage along the lung, u = 0 base … 1 apex: centre and half-width relative to the
# half-width of the cage, half-depth relative to its half-depth, backward shift in mm.
U = (-0.3, 0.0, 0.3, 0.55, 0.7, 0.82, 0.92, 1.0, 1.2)
CENTRE = (0.55, 0.56, 0.54, 0.53, 0.50, 0.46, 0.42, 0.40, 0.40)
WIDTH = (0.40, 0.42, 0.46, 0.46, 0.44, 0.37, 0.27, 0.10, 0.02)
DEPTH = (0.82, 0.90, 1.00, 0.98, 0.86, 0.68, 0.46, 0.16, 0.03)
SHIFT = (6.0, 6.0, 0.0, 0.0, 4.0, 10.0, 15.0, 18.0, 18.0)
CAGE = (0.96, 0.98, 1.00, 0.99, 0.95, 0.84, 0.74, 0.66, 0.60)  # half-width of the whole cage
SHOULDER = (0.0, 0.0, 0.0, 0.0, 2.0, 14.0, 30.0, 42.0, 52.0)  # width added by the shoulder girdle, mm


@dataclass(frozen=True)
class Plane:
    """One axial plane of a chest."""

    lung: np.ndarray  # signed distance to the surface of the lung in mm, negative inside, (512, 512)
    tissue: np.ndarray  # HU of everything that is not lung, (512, 512)
    pleura: np.ndarray  # depth below the costal pleura in mm, 0 outside the lung, (256, 256)


class Chest:
    """The chest of one patient."""

    def __init__(self, patient: Patient):
        self.patient = patient
        volume = {"reach": patient.reach, "height": patient.height}
        self.bend = [Field(patient.rng("bend", axis), 45, **volume) for axis in "xy"]
        self.marbling = Field(patient.rng("marbling"), 7, **volume)
        rng = patient.rng("skeleton")
        self.rib_phase, self.disc_phase = rng.uniform(0, 22), rng.uniform(0, 25)
        self.tilt = rng.uniform(0.35, 0.55)  # slope of the ribs, which descend from back to front

    def along(self, z: float, values) -> float:
        """The value at height z mm of a quantity with `values` at the relative heights `U`."""
        return float(np.interp(z / self.patient.height, U, values))

    @property
    def spine_y(self) -> float:
        return 0.60 * self.patient.half_depth

    def lung(self, grid: Grid, z: float) -> np.ndarray:
        """Signed distance to the surface of the lungs, negative inside, mm, (size, size)."""
        x, y = self.bent(grid, z)
        return self.inside(x, y, z, self.cage(x, y, z))

    def bent(self, grid: Grid, z: float) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates of the pixels after a smooth deformation, which makes the chest irregular; (size, size) each."""
        return grid.x + 3.2 * self.bend[0](grid, z), grid.y + 3.2 * self.bend[1](grid, z)

    def inside(self, x: np.ndarray, y: np.ndarray, z: float, cage: np.ndarray) -> np.ndarray:
        """Like `lung`, at the deformed coordinates x and y. cage: the result of `cage` there."""
        p, u = self.patient, z / self.patient.height
        half = superellipse(
            # The shear 0.10·y extends the anterior lung to the sternum.
            np.abs(x) - (self.along(z, CENTRE) * p.half_width + 0.10 * y),
            y - self.along(z, SHIFT),
            self.along(z, WIDTH) * p.half_width,
            self.along(z, DEPTH) * p.half_depth,
            2.5,
        )
        wall = smooth_max(cage, half, 6)
        middle = smooth_max(wall, -self.mediastinum(x, y, z), 7)
        if u > 0.55:
            return middle
        return smooth_max(middle, self.diaphragm(x, y) - z, 9)

    def cage(self, x, y, z: float) -> np.ndarray:
        """Signed distance to the inside of the whole rib cage."""
        p = self.patient
        depth = 1.04 * max(self.along(z, DEPTH), 0.62) * p.half_depth
        return superellipse(x, y - self.along(z, SHIFT), self.along(z, CAGE) * p.half_width, depth, 2.3)

    def mediastinum(self, x, y, z: float) -> np.ndarray:
        """Signed distance to heart, great vessels and spine together, negative inside."""
        p, u = self.patient, z / self.patient.height
        width = np.interp(u, (0, 0.3, 0.5, 0.62, 0.8, 1), (24, 25, 27, 31, 29, 34))
        parts = [ellipse(x - 2, y - 2, width * p.heart, 0.74 * p.half_depth)]
        heart = 1 - ((u - 0.29) / 0.26) ** 2
        if heart > 0:
            size = p.heart * np.sqrt(heart)
            turned = x - 22 - 0.25 * (y + 20)  # the cardiac apex points anteriorly and to the left
            parts.append(ellipse(turned, y + 22, 58 * size, 47 * size))
        parts.append(np.hypot(x, y - self.spine_y - 4) - (25 - 3 * u))
        if u < 0.74:
            parts.append(np.hypot(x - 22, y - self.spine_y + 22) - 14)  # descending aorta
        if 0.68 < u < 0.78:
            parts.append(ellipse(x - 14, y - 4, 24, 34))  # aortic arch
        union = parts[0]
        for part in parts[1:]:
            union = -smooth_max(-union, -part, 6)
        return union

    def diaphragm(self, x, y) -> np.ndarray:
        """Height of the diaphragm above the lowest recess, mm: two domes, steep posteriorly and laterally."""
        p = self.patient

        def dome(side: int, top: float) -> np.ndarray:
            r = np.hypot((x - side * 0.46 * p.half_width) / (0.52 * p.half_width), (y + 10) / (0.98 * p.half_depth))
            return top * (1 - 0.9 * np.clip(r, 0, 1.3) ** 2.6)

        return smooth_max(dome(-1, p.dome), dome(1, p.dome - 12), 15)

    def plane(self, z: float) -> Plane:
        """The plane at height z mm, without the inside of the lungs."""
        grid = self.patient.grid
        half = grid.coarse(2)
        x, y = self.bent(half, z)
        cage = self.cage(x, y, z)
        lung = self.inside(x, y, z, cage)
        return Plane(doubled(lung), self.tissue(grid, half, z, x, y, cage), self.pleura(half, z, lung))

    def pleura(self, grid: Grid, z: float, lung: np.ndarray) -> np.ndarray:
        """Depth below the costal and diaphragmatic pleura, mm; the mediastinal surface does not count as pleura."""
        inside = lung < 0
        depth = np.zeros(lung.shape, np.float32)
        if inside.any():
            # The nearest pixel outside the lung is in the bounding box of the lung or on its margin of one pixel.
            low, high = bounds(inside, margin=1)
            box = np.s_[low[0] : high[0], low[1] : high[1]]
            below = ndimage.distance_transform_edt(inside[box]) * grid.pixel
            cage = self.cage(grid.x[:, box[1]], grid.y[box[0]], z)
            depth[box] = np.maximum(below, -0.6 * cage * inside[box])
        return depth

    def tissue(self, grid: Grid, half: Grid, z: float, x: np.ndarray, y: np.ndarray, cage: np.ndarray) -> np.ndarray:
        """HU of the body with mediastinal fat instead of lungs, and of the air and table around it.

        Soft tissue is drawn at half the resolution, skin and bone at full resolution. x, y: deformed coordinates at
        half the resolution. cage: the result of `cage` there.
        """
        p = self.patient
        skin, fat = self.skin(x, y, z)
        marbling = self.marbling(half, z)
        hu = np.full((half.size, half.size), FAT, np.float32) + 8 * marbling
        muscle = coverage(fat, half.pixel)
        hu = mix(hu, muscle, MUSCLE)
        septa = np.abs(np.sin((cage + 5 * marbling) / 6.5)) + 0.5 * np.abs(marbling)  # fat between muscle layers
        hu = mix(hu, 0.8 * muscle * np.clip(1 - septa / 0.3, 0, 1) * (cage > 10), FAT)
        hu = mix(hu, coverage(cage, half.pixel), FAT + 25)
        for part, value in self.organs(x, y, z):
            hu = mix(hu, coverage(part, half.pixel), value)
        hu = doubled(hu)
        bone = np.full_like(skin, 99.0)
        marrow = np.full_like(skin, MARROW)
        for part, inside in self.bones(half, x, y, z, cage):
            marrow = np.where(part < bone, np.float32(inside), marrow)
            bone = np.minimum(bone, part)
        bone, skin = doubled(bone.astype(np.float32)), doubled(skin)
        hu = mix(hu, coverage(bone, grid.pixel), CORTEX)
        hu = mix(hu, coverage(bone + 1.7, grid.pixel), doubled(marrow))
        hu = mix(AIR, coverage(skin, grid.pixel), mix(hu, coverage(-2 - skin, grid.pixel), 30.0))
        table = np.abs(grid.y - (p.half_depth + 29 + 0.5 * p.fat) + (grid.x / 42) ** 2 * 0.9)
        return mix(hu, coverage(table - 1.5, grid.pixel) * (skin > 3), -250.0)

    def skin(self, x, y, z: float):
        """Signed distances to the skin and to the inside of the subcutaneous fat."""
        p, u = self.patient, z / self.patient.height
        lateral = np.abs(x) / p.half_width
        breast = (1.6 if p.female else 0.5) * p.fat * bump(u, 0.5, 0.2)
        breast = breast * np.exp(-(((np.abs(x) - 70) / 45) ** 2)) * (y < 0)
        width = (0.65 + 0.35 * self.along(z, CAGE)) * p.half_width + 20 + 0.7 * p.fat + self.along(z, SHOULDER)
        depth = p.half_depth + 20 + 0.5 * p.fat - 40 * max(u - 0.75, 0)
        skin = superellipse(x, y - 3, width, depth, 2.5) - breast
        layer = p.fat * (0.5 + 0.5 * np.clip(3 * (1.1 - lateral), 0, 1))
        return skin, skin + np.maximum(layer + breast, 3)

    def organs(self, x, y, z: float):
        """Soft tissue inside the cage: (signed distance, HU) in drawing order."""
        p, u = self.patient, z / self.patient.height
        heart = 1 - ((u - 0.29) / 0.26) ** 2
        if u < 0.5:  # below the diaphragm: liver on the right, spleen and stomach on the left, fat between them
            below = z - self.diaphragm(x, y) + 3
            yield smooth_max(below, x - 18, 4), ORGAN + 4
            yield smooth_max(below, np.maximum(28 - x, 10 - y), 4), ORGAN - 6
            yield smooth_max(below, ellipse(x - 55, y + 30, 42, 34), 4), 28.0
        if heart > 0:
            size = p.heart * np.sqrt(heart)
            turned = x - 22 - 0.25 * (y + 20)
            yield ellipse(turned, y + 22, 55 * size, 44 * size), BLOOD
        if u < 0.74:
            yield np.hypot(x - 22, y - self.spine_y + 22) - 12, BLOOD
        if 0.68 < u < 0.78:
            yield ellipse(x - 14, y - 4, 20, 31), BLOOD
        if u > 0.5:
            yield np.hypot(x + 24, y + 20) - 8.5, BLOOD - 4  # superior vena cava
        if 0.5 < u < 0.7:
            yield np.hypot(x + 8, y + 30) - 15, BLOOD + 3  # ascending aorta
            yield np.hypot(x - 20, y + 32) - 12, BLOOD  # pulmonary trunk
        if u > 0.78:
            for cx, cy in ((-14, -14), (4, -16), (16, 0)):
                yield np.hypot(x - cx, y - cy) - 5.5, BLOOD
        yield np.hypot(x - 6, y - self.spine_y + 29) - 7, MUSCLE - 12  # oesophagus
        yield np.hypot(np.abs(x) - 30, y - self.spine_y - 36) - 17, MUSCLE  # erector spinae

    def bones(self, half: Grid, x, y, z: float, cage):
        """Bones: (signed distance to the surface, HU of the marrow)."""
        u, spine = z / self.patient.height, self.spine_y + 4
        # Ribs are oblique rings around the cage; a plane intersects a few of them. Anteriorly they are cartilage.
        level = (z - self.tilt * y - self.rib_phase + 4 * self.bend[1](half, z)) / 23.0
        rise = np.abs(level - np.round(level)) * 23.0
        ring = 4.2 * (np.hypot((cage - 6.0) / 3.9, rise / 6.2) - 1)
        front = (np.abs(x) < 42) & (y < 0)
        if u < 0.93:
            yield np.where(front, 9.0, ring), MARROW
            yield np.where(front & (np.abs(x) > 16) & (u < 0.8), ring + 1.5, 9.0), CARTILAGE
        if 0.3 < u < 0.9:
            sternum = np.maximum(np.abs(x) - 16 - 80 * max(u - 0.75, 0), np.abs(cage - 6) - 4.5)
            yield np.where(y < 0, sternum, 9.0), MARROW - 60
        phase = (z - self.disc_phase) / 25
        disc = abs(phase - round(phase)) * 25 < 3.5
        vertebra = superellipse(x, y - spine, 18, 14.5, 2.4)
        yield vertebra, DISC if disc else MARROW  # the rim of a disc is drawn as bone: the end plates
        arch = np.minimum(np.abs(np.hypot(x, y - spine - 19) - 11.5) - 3, ellipse(x, y - spine - 38, 3.4, 14))
        if not disc:
            arch = np.minimum(arch, ellipse(np.abs(x) - 24, y - spine - 22 - 0.35 * (np.abs(x) - 24), 14, 4))
        yield arch, MARROW
        if 0.45 < u < 1.05:
            # The scapula lies on the posterior surface of the cage and widens upwards.
            along = np.abs(x) - (58 + 55 * (u - 0.4))
            blade = np.hypot(np.maximum(np.abs(along) - (14 + 22 * (u - 0.45)), 0), cage - 19 - 0.1 * along) - 2.4
            yield np.where(y > -0.1 * self.patient.half_depth, blade, 9.0), MARROW + 60
        if u > 0.9:
            yield np.hypot(np.maximum(np.abs(np.abs(x) - 62) - 34, 0), y + 34 + 0.35 * (np.abs(x) - 62)) - 6, MARROW


def mix(hu, share: np.ndarray, value) -> np.ndarray:
    """`hu` with the fraction `share` of each pixel replaced by `value`; both are arrays or numbers."""
    return hu + share * (value - hu)


def bump(u: float, centre: float, width: float) -> float:
    """A Gaussian function with maximum 1 at `centre` and the value 1/e at a distance of `width`."""
    return float(np.exp(-(((u - centre) / width) ** 2)))


def ellipse(x, y, a: float, b: float) -> np.ndarray:
    """Approximate signed distance to an ellipse with half-axes a, b: f/|∇f| with f = √((x/a)² + (y/b)²) − 1."""
    f = np.sqrt((x / a) ** 2 + (y / b) ** 2)
    slope = np.sqrt((x / a**2) ** 2 + (y / b**2) ** 2) / np.maximum(f, 1e-3)
    return (f - 1) / np.maximum(slope, 1 / (2 * max(a, b)))


def superellipse(x, y, a: float, b: float, power: float) -> np.ndarray:
    """Like `ellipse`, for the curve |x/a|ᵖ + |y/b|ᵖ = 1."""
    s, t = np.abs(x / a), np.abs(y / b)
    f = (s**power + t**power) ** (1 / power)
    safe = np.maximum(f, 1e-3)
    slope = np.sqrt(((s / safe) ** (power - 1) / a) ** 2 + ((t / safe) ** (power - 1) / b) ** 2)
    return (f - 1) / np.maximum(slope, 1 / (2 * max(a, b)))
