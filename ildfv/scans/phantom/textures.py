"""What lung looks like: healthy parenchyma and the four patterns, in HU at any points of a plane."""

import numpy as np

from ildfv.scans.phantom.fields import Cells, Field
from ildfv.scans.phantom.patient import Patient

GROUND_GLASS, RETICULAR, HONEYCOMB, EMPHYSEMA = range(4)

LINE = 430.0  # HU that a line of the net adds at its middle
WALL, LUMEN = -130.0, -935.0  # honeycomb
HOLE = -980.0  # emphysema


class Textures:
    """The textures of one patient. Each aims at the patient's mean attenuation for the pattern (`Patient.levels`).

    Ground glass, reticular and honeycomb draw their means from one distribution, so only texture tells them apart.
    """

    def __init__(self, patient: Patient):
        self.patient = p = patient
        volume = {"reach": p.reach, "height": p.height}
        rng = p.rng("textures")
        self.clouds = Field(p.rng("clouds"), 22, **volume)
        self.lobules = Field(p.rng("lobules"), 7, **volume)
        self.mottle = Field(p.rng("mottle"), 2.8, **volume)
        self.net = Cells(p.rng("net"), rng.uniform(4.8, 6.4), **volume)
        self.septa = Cells(p.rng("septa"), rng.uniform(13, 17), **volume)
        self.cysts = Cells(p.rng("cysts"), rng.uniform(5.6, 7.6), stretch=1.3, **volume)
        self.holes = Cells(p.rng("holes"), rng.uniform(8, 11), **volume)
        self.calibration = {k: self._calibrate(k) for k in p.patterns}

    def healthy(self, z: float) -> np.ndarray:
        """Healthy lung on the whole plane, (512, 512): denser towards the back, slightly uneven."""
        p = self.patient
        smooth = p.lung + p.gradient * p.grid.y / (2 * p.half_depth) + 11 * self.clouds(p.grid, z)
        return smooth + 8 * self.mottle(p.grid, z)

    def pattern(self, pattern: int, rows: np.ndarray, columns: np.ndarray, z: float, healthy: np.ndarray) -> np.ndarray:
        """HU of a pattern at the pixels (rows, columns), (n,) each; `healthy`: what would be there otherwise."""
        grid = self.patient.grid
        uneven = 16 * self.clouds(grid, z)[rows, columns]
        raw = self._raw(pattern, rows, columns, z)
        shift, level = self.calibration[pattern], self.patient.levels[pattern]
        if pattern == GROUND_GLASS:
            return level + uneven + raw
        if pattern == RETICULAR:
            return level + uneven + LINE * (raw - shift)
        if pattern == HONEYCOMB:
            inside = step(raw - shift, 0.35)
            return WALL + uneven + inside * (LUMEN - WALL)
        hole = step(raw - shift, 1.1)  # no wall: the edge is a slope
        return healthy - 12 + hole * (HOLE - healthy + 12)

    def _raw(self, pattern: int, rows, columns, z: float) -> np.ndarray:
        """The pattern before its level is set: HU for ground glass, lines in [0, 1.2] for reticular, mm for the others."""
        grid = self.patient.grid
        x, y = grid.axis[columns], grid.axis[rows]
        lobules, mottle = self.lobules(grid, z)[rows, columns], self.mottle(grid, z)[rows, columns]
        if pattern == GROUND_GLASS:
            return 26 * lobules + 10 * mottle  # some lobules hazier than others
        if pattern == RETICULAR:
            x, y = x + 0.9 * mottle, y + 0.9 * lobules  # crooked lines
            fine, coarse = edge(self.net.near(x, y, z, 2)[0]), edge(self.septa.near(x, y, z, 2)[0])
            lines = np.maximum(np.exp(-((fine / 0.72) ** 2)), 1.15 * np.exp(-((coarse / 0.85) ** 2)))
            return lines * np.clip(0.8 + 0.35 * lobules, 0.15, 1.2)  # not everywhere equally thick
        if pattern == HONEYCOMB:
            distance, size = self.cysts.near(x + 0.4 * mottle, y, z, 3)
            reach = distance - 1.8 * size  # big and small cysts side by side
            order = np.argsort(reach, axis=1)
            reach = np.take_along_axis(reach, order, axis=1)
            return np.minimum(edge(reach), 4.4 - reach[:, 0])  # shared walls, rounded corners
        distance, size = self.holes.near(x + 1.2 * lobules, y + 1.2 * mottle, z, 3)
        return (3.5 * size - distance).max(axis=1) + 1.2 * self.clouds(grid, z)[rows, columns]

    def _calibrate(self, pattern: int, count: int = 6000) -> float:
        """The constant with which the pattern reaches its mean: measured once, at random points of the middle plane."""
        p = self.patient
        rows, columns = p.rng("calibration", pattern).integers(56, p.grid.size - 56, (2, count))
        raw = self._raw(pattern, rows, columns, 0.4 * p.height)
        level = p.levels[pattern]
        if pattern == HONEYCOMB:
            return float(np.quantile(raw, np.clip((level - LUMEN) / (WALL - LUMEN), 0.2, 0.6)))
        if pattern == EMPHYSEMA:
            return float(np.quantile(raw, 1 - np.clip((level - p.lung) / (HOLE - p.lung), 0.3, 0.85)))
        return float(raw.mean())


def edge(distances: np.ndarray) -> np.ndarray:
    """Distance to the border between the nearest two cells, mm, (n,)."""
    return (distances[:, 1] - distances[:, 0]) / 2


def step(distance: np.ndarray, softness: float) -> np.ndarray:
    """A smooth step from 0 to 1 about `softness` mm to either side of 0."""
    return 0.5 + 0.5 * np.tanh(distance / softness)
