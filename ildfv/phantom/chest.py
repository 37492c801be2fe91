"""The lungs and the organs that bound them on an axial plane, as signed distances in mm."""

import numpy as np

from ildfv.kernels.drawing import distance_to_outside
from ildfv.phantom.fields import WHOLE, Field, Grid, bounding_box
from ildfv.phantom.patient import Patient
from ildfv.phantom.section import Section, reached
from ildfv.phantom.shapes import bump, ellipse, smooth_max, superellipse

# Shape of one half of the rib cage along the lung, u = 0 base … 1 apex: centre and half-width relative to the
# half-width of the cage, half-depth relative to its half-depth, backward shift in mm.
U = (-0.3, 0.0, 0.3, 0.55, 0.7, 0.82, 0.92, 1.0, 1.2)
CENTRE = (0.55, 0.56, 0.54, 0.53, 0.50, 0.46, 0.42, 0.40, 0.40)
WIDTH = (0.40, 0.42, 0.46, 0.46, 0.44, 0.37, 0.27, 0.10, 0.02)
DEPTH = (0.82, 0.90, 1.00, 0.98, 0.86, 0.68, 0.46, 0.16, 0.03)
SHIFT = (6.0, 6.0, 0.0, 0.0, 4.0, 10.0, 15.0, 18.0, 18.0)
CAGE = (0.96, 0.98, 1.00, 0.99, 0.95, 0.84, 0.74, 0.66, 0.60)  # half-width of the whole cage
SHOULDER = (0.0, 0.0, 0.0, 0.0, 2.0, 14.0, 30.0, 42.0, 52.0)  # width added by the shoulder girdle, mm

FAR = 99.0  # mm; used as the distance from a structure that is far away, where the exact distance is not needed


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
        """The quantity with the given `values` at the relative heights `U`, interpolated at height z mm."""
        return float(np.interp(z / self.patient.height, U, values))

    @property
    def spine_y(self) -> float:
        """The y coordinate of the spine, mm."""
        return 0.60 * self.patient.half_depth

    def skin_axes(self, z: float) -> tuple[float, float]:
        """Half-width and half-depth of the skin's superellipse around (0, 3), mm."""
        p, u = self.patient, z / self.patient.height
        width = (0.65 + 0.35 * self.along(z, CAGE)) * p.half_width + 20 + 0.7 * p.fat + self.along(z, SHOULDER)
        return width, p.half_depth + 20 + 0.5 * p.fat - 40 * max(u - 0.75, 0)

    def breast(self, z: float) -> float:
        """Thickness that the breasts add to the subcutaneous fat, mm."""
        p = self.patient
        return (1.6 if p.female else 0.5) * p.fat * bump(z / p.height, 0.5, 0.2)

    def section(self, grid: Grid, z: float) -> Section:
        """The rows of the plane at height z mm that contain the body and at least 5 mm around it."""
        sway = self.bend[1](grid, z)
        y = grid.y + 3.2 * sway
        front_and_back = self.skin_axes(z)[1] + 5 + 2 * grid.pixel
        rows = reached((y.min(axis=1), y.max(axis=1)), (3 - front_and_back - self.breast(z), 3 + front_and_back))
        x = grid.x + 3.2 * self.bend[0](grid.part((rows, WHOLE[1])), z)
        return Section(grid, z, rows, x, y[rows], sway[rows], self.cage(x, y[rows], z))

    def lung(self, grid: Grid, z: float) -> np.ndarray:
        """Signed distance to the surface of the lungs, mm, negative inside, (size, size); `FAR` far outside."""
        return self.lung_in(self.section(grid, z))

    def lung_in(self, at: Section) -> np.ndarray:
        """Like `lung`, for the plane of a section, (size, size)."""
        lung = np.full((at.grid.size, at.grid.size), FAR)
        inside_cage = at.cage < 2 * at.grid.pixel
        if inside_cage.any():
            box = bounding_box(inside_cage, margin=2)
            lung[at.rows][box] = self.inside(at.x[box], at.y[box], at.z, at.cage[box])
        return lung

    def inside(self, x: np.ndarray, y: np.ndarray, z: float, cage: np.ndarray) -> np.ndarray:
        """Signed distance to the surface of the lungs at x and y, mm, in their shape; negative inside.

        x, y: deformed coordinates, mm (`Section`). cage: signed distance to the rib cage there.
        """
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
        """Signed distance to the inner surface of the whole rib cage at x and y, mm, negative inside."""
        p = self.patient
        depth = 1.04 * max(self.along(z, DEPTH), 0.62) * p.half_depth
        return superellipse(x, y - self.along(z, SHIFT), self.along(z, CAGE) * p.half_width, depth, 2.3)

    def mediastinum(self, x, y, z: float) -> np.ndarray:
        """Signed distance to the union of heart, great vessels and spine at x and y, mm, negative inside."""
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
        """Height of the diaphragm above the lowest recess at x and y, mm: domes, steep posteriorly and laterally."""
        p = self.patient

        def dome(side: int, top: float) -> np.ndarray:
            r = np.hypot((x - side * 0.46 * p.half_width) / (0.52 * p.half_width), (y + 10) / (0.98 * p.half_depth))
            return top * (1 - 0.9 * np.clip(r, 0, 1.3) ** 2.6)

        return smooth_max(dome(-1, p.dome), dome(1, p.dome - 12), 15)

    def pleura(self, grid: Grid, z: float, lung: np.ndarray) -> np.ndarray:
        """Approximate depth below the costal pleura, mm, 0 outside the lung, (size, size) float32.

        The surfaces at the mediastinum and the diaphragm do not count as pleura. lung: from `lung`.
        """
        inside = lung < 0
        depth = np.zeros(lung.shape, np.float32)
        if inside.any():
            # The nearest pixel outside the lung is in the bounding box of the lung or on its margin of one pixel.
            box = bounding_box(inside, margin=1)
            below = distance_to_outside(inside[box]) * grid.pixel
            cage = self.cage(grid.x[:, box[1]], grid.y[box[0]], z)
            depth[box] = np.maximum(below, -0.6 * cage * inside[box])
        return depth
