"""Textures of healthy parenchyma and of the four patterns, in HU at any points of a plane."""

import numpy as np

from ildfv.phantom.fields import Cells, Field
from ildfv.phantom.patient import Patient

GROUND_GLASS, RETICULAR, HONEYCOMB, EMPHYSEMA = range(4)

LINE = 480.0  # HU added at the centre of a reticular line
WALL, LUMEN = -130.0, -930.0  # honeycomb
HOLE = -990.0  # emphysema

# The pattern whose texture is mixed into a region of the other: fibrosis looks hazy, honeycombing starts in a network.
COMPANION = {GROUND_GLASS: RETICULAR, RETICULAR: GROUND_GLASS, HONEYCOMB: RETICULAR}


class Textures:
    """The textures of one patient, with the mean attenuation in `Patient.levels`.

    The means of ground glass, reticular and honeycomb have the same distribution, so only texture separates them.
    """

    def __init__(self, patient: Patient):
        self.patient = p = patient
        volume = {"reach": p.reach, "height": p.height}
        rng = p.rng("textures")
        self.clouds = Field(p.rng("clouds"), 22, **volume)
        self.lobules = Field(p.rng("lobules"), 7, **volume)
        self.mottle = Field(p.rng("mottle"), 2.8, **volume)
        # Elongated along z, so that an axial section intersects most walls and shows them as lines.
        self.net = Cells(p.rng("net"), rng.uniform(4.2, 5.4), stretch=2.4, **volume)
        self.septa = Cells(p.rng("septa"), rng.uniform(13, 17), stretch=2.0, **volume)
        self.cysts = Cells(p.rng("cysts"), p.fineness * rng.uniform(5.6, 7.6), stretch=1.6, **volume)
        self.holes = Cells(p.rng("holes"), p.fineness * rng.uniform(8, 11), **volume)
        self._noise: tuple = (None, ())
        drawn = {*p.patterns, *(COMPANION[k] for k in p.patterns if p.admixture and k in COMPANION)}
        self.calibration = {k: self._calibrate(k) for k in sorted(drawn)}

    def noise(self, z: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Clouds, lobules and mottle on the plane, each (512, 512); the last plane is cached."""
        if self._noise[0] != z:
            self._noise = (z, tuple(field(self.patient.grid, z) for field in (self.clouds, self.lobules, self.mottle)))
        return self._noise[1]

    def healthy(self, z: float) -> np.ndarray:
        """Healthy lung on the whole plane in HU, (512, 512): slightly uneven, denser posteriorly."""
        p = self.patient
        clouds, _, mottle = self.noise(z)
        return p.lung + p.gradient * p.grid.y / (2 * p.half_depth) + 11 * clouds + 8 * mottle

    def mixed(self, pattern: int, rows: np.ndarray, columns: np.ndarray, z: float, healthy: np.ndarray) -> np.ndarray:
        """Like `pattern`, with the patient's contrast for it and with the texture of its companion mixed in."""
        p = self.patient
        texture = self.pattern(pattern, rows, columns, z, healthy)
        if p.admixture and pattern in COMPANION:
            texture += p.admixture * (self.pattern(COMPANION[pattern], rows, columns, z, healthy) - texture)
        return texture if p.contrasts[pattern] == 1 else healthy + p.contrasts[pattern] * (texture - healthy)

    def pattern(self, pattern: int, rows: np.ndarray, columns: np.ndarray, z: float, healthy: np.ndarray) -> np.ndarray:
        """HU of a pattern at the pixels (rows, columns), (n,) each; `healthy`: HU of healthy lung there."""
        uneven = 24 * self.noise(z)[0][rows, columns]
        raw = self._raw(pattern, rows, columns, z)
        shift, level = self.calibration[pattern], self.patient.levels[pattern]
        if pattern == GROUND_GLASS:
            return level + uneven + raw
        if pattern == RETICULAR:
            return level + uneven + LINE * (raw - shift)
        if pattern == HONEYCOMB:
            inside = step(raw - shift, 0.3)
            return WALL + uneven + inside * (LUMEN - uneven - WALL)
        hole = step(raw - shift, 0.9)  # no wall: the edge is gradual
        return healthy + hole * (HOLE - healthy)

    def _raw(self, pattern: int, rows, columns, z: float) -> np.ndarray:
        """The pattern before its mean is set: HU for ground glass, 0 … 1.4 for reticular, mm for the others."""
        grid = self.patient.grid
        x, y = grid.axis[columns], grid.axis[rows]
        clouds, lobules, mottle = (plane[rows, columns] for plane in self.noise(z))
        if pattern == GROUND_GLASS:
            return 26 * lobules + 10 * mottle  # lobules differ in density
        if pattern == RETICULAR:
            x, y = x + 0.3 * mottle, y + 0.6 * lobules  # irregular lines
            fine, size = self.net.near(x, y, z, 2)
            # Many walls are faint, which distinguishes a network from cysts.
            whole = np.clip(3 * np.abs(size[:, 0] - size[:, 1]), 0.15, 1)
            septa = edge(self.septa.near(x, y, z, 2)[0])
            lines = np.maximum(whole * np.exp(-((edge(fine) / 0.68) ** 2)), 1.15 * np.exp(-((septa / 0.95) ** 2)))
            return lines * np.clip(0.85 + 0.4 * lobules, 0.1, 1.25)  # variable thickness
        if pattern == HONEYCOMB:
            distance, size = self.cysts.near(x + 0.3 * mottle, y + 0.3 * lobules, z, 4)
            reach = np.sort(distance - 1.9 * size, axis=1)  # cysts of different sizes
            return np.minimum(edge(reach, rounding=0.7), 4.6 - reach[:, 0])  # shared walls, rounded corners
        distance, size = self.holes.near(x + 1.2 * lobules, y + 0.8 * mottle, z, 3)
        return (4.5 * size - distance).max(axis=1) + 1.2 * clouds

    def _calibrate(self, pattern: int, count: int = 6000) -> float:
        """The offset that gives the pattern its mean, measured at random points of one plane."""
        p = self.patient
        rows, columns = p.rng("calibration", pattern).integers(56, p.grid.size - 56, (2, count))
        raw = self._raw(pattern, rows, columns, 0.4 * p.height)
        level = p.levels[pattern]
        if pattern == HONEYCOMB:
            return float(np.quantile(raw, np.clip((level - LUMEN) / (WALL - LUMEN), 0.2, 0.6)))
        if pattern == EMPHYSEMA:
            return float(np.quantile(raw, 1 - np.clip((level - p.lung) / (HOLE - p.lung), 0.3, 0.85)))
        return float(raw.mean())


def edge(distances: np.ndarray, *, rounding: float = 0.0) -> np.ndarray:
    """Distance to the border of the nearest cell, mm, (n,), from sorted distances (n, count) to the cells' centres.

    rounding: mm by which corners between several cells are rounded, as in cysts.
    """
    if not rounding:
        return (distances[:, 1] - distances[:, 0]) / 2
    borders = (distances[:, 1:] - distances[:, :1]) / 2
    return -rounding * np.log(np.exp(-borders / rounding).sum(axis=1))


def step(distance: np.ndarray, softness: float) -> np.ndarray:
    """A smooth step from 0 to 1 within about `softness` mm on either side of 0."""
    return 0.5 + 0.5 * np.tanh(distance / softness)
