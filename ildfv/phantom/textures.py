"""Textures of healthy parenchyma and of the four patterns, in HU at any pixels of a plane."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ildfv.phantom.fields import WHOLE, Box, Cells, Field, Part
from ildfv.phantom.patient import Patient

Pixels = tuple[np.ndarray, np.ndarray]  # rows and columns in a part of the plane, (n,) each
GROUND_GLASS, RETICULAR, HONEYCOMB, EMPHYSEMA = range(4)

LINE = 480.0  # HU added at the centre of a reticular line
WALL, LUMEN = -130.0, -930.0  # honeycomb
HOLE = -990.0  # emphysema

# By pattern, the pattern whose texture is mixed into its regions: reticular lines with ground glass and vice versa,
# honeycombing with reticular lines.
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
        self._noise: Noise | None = None
        drawn = {*p.patterns, *(COMPANION[k] for k in p.patterns if p.admixture and k in COMPANION)}
        self.calibration = {k: self._calibrate(k) for k in sorted(drawn)}

    def noise(self, z: float, box: Box) -> "Noise":
        """The random fields in a part of the plane. Those of the last part are cached."""
        part = self.patient.grid.part(box)
        if self._noise is None or (self._noise.part, self._noise.z) != (part, z):
            self._noise = Noise(self, part, z)
        return self._noise

    def healthy(self, z: float, box: Box) -> np.ndarray:
        """Healthy lung in a part of the plane in HU, (rows, columns): slightly uneven, denser posteriorly."""
        p, noise = self.patient, self.noise(z, box)
        return p.lung + p.gradient * p.grid.y[box[0]] / (2 * p.half_depth) + 11 * noise.clouds + 8 * noise.mottle

    def mixed(self, pattern: int, pixels: Pixels, z: float, box: Box, healthy: np.ndarray) -> np.ndarray:
        """HU of a pattern at n pixels of a part of the plane, (n,). healthy: HU of healthy lung there.

        The texture of the pattern's companion is mixed in, and the patient's contrast for the pattern is applied.
        """
        p, places = self.patient, self.noise(z, box).at(pixels)
        texture = self.pattern(pattern, places, healthy)
        if p.admixture and pattern in COMPANION:
            texture += p.admixture * (self.pattern(COMPANION[pattern], places, healthy) - texture)
        return texture if p.contrasts[pattern] == 1 else healthy + p.contrasts[pattern] * (texture - healthy)

    def pattern(self, pattern: int, places: "Places", healthy: np.ndarray) -> np.ndarray:
        """HU of a pattern without admixture and with the contrast of easy patients, (n,)."""
        uneven = 24 * places.clouds
        raw = self._raw(pattern, places)
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

    def _raw(self, pattern: int, places: "Places") -> np.ndarray:
        """The texture without correction of its mean: HU for ground glass, 0 … 1.4 for reticular, mm for the others."""
        x, y, z, lobules, mottle = places.x, places.y, places.z, places.lobules, places.mottle
        if pattern == GROUND_GLASS:
            return 26 * lobules + 10 * mottle  # lobules differ in density
        if pattern == RETICULAR:
            x, y = x + 0.3 * mottle, y + 0.6 * lobules  # irregular lines
            fine, size = self.net.near(x, y, z, 2)
            # Many walls are faint, which distinguishes a network from cysts.
            whole = np.clip(3 * np.abs(size[0] - size[1]), 0.15, 1)
            septa = edge(self.septa.near(x, y, z, 2)[0])
            lines = np.maximum(whole * np.exp(-((edge(fine) / 0.68) ** 2)), 1.15 * np.exp(-((septa / 0.95) ** 2)))
            return lines * np.clip(0.85 + 0.4 * lobules, 0.1, 1.25)  # variable thickness
        if pattern == HONEYCOMB:
            distance, size = self.cysts.near(x + 0.3 * mottle, y + 0.3 * lobules, z, 4)
            reach = ascending(distance - 1.9 * size)  # cysts of different sizes
            return np.minimum(edge(reach, rounding=0.7), 4.6 - reach[0])  # shared walls, rounded corners
        distance, size = self.holes.near(x + 1.2 * lobules, y + 0.8 * mottle, z, 3)
        return (4.5 * size - distance).max(axis=0) + 1.2 * places.clouds

    def _calibrate(self, pattern: int, count: int = 6000) -> float:
        """The offset that gives the pattern its mean, measured at random points of one plane.

        The fraction of honeycomb lumina is limited to 0.4 … 0.8 and that of emphysema holes to 0.3 … 0.85, so that the
        mean can differ from that in `Patient.levels`.
        """
        p = self.patient
        rows, columns = p.rng("calibration", pattern).integers(56, p.grid.size - 56, (2, count))
        raw = self._raw(pattern, self.noise(0.4 * p.height, WHOLE).at((rows, columns)))
        level = p.levels[pattern]
        if pattern == HONEYCOMB:
            return float(np.quantile(raw, np.clip((level - LUMEN) / (WALL - LUMEN), 0.2, 0.6)))
        if pattern == EMPHYSEMA:
            return float(np.quantile(raw, 1 - np.clip((level - p.lung) / (HOLE - p.lung), 0.3, 0.85)))
        return float(raw.mean())


@dataclass(frozen=True)
class Places:
    """n pixels of one plane: coordinates in mm and the values of the fields, (n,) each."""

    x: np.ndarray
    y: np.ndarray
    z: float
    clouds: np.ndarray
    lobules: np.ndarray
    mottle: np.ndarray


@dataclass(frozen=True)
class Noise:
    """The fields of `textures` in a part of a plane, (rows, columns) each, evaluated when they are first used."""

    textures: Textures
    part: Part
    z: float

    @cached_property
    def clouds(self) -> np.ndarray:
        return self.textures.clouds(self.part, self.z)

    @cached_property
    def lobules(self) -> np.ndarray:
        return self.textures.lobules(self.part, self.z)

    @cached_property
    def mottle(self) -> np.ndarray:
        return self.textures.mottle(self.part, self.z)

    def at(self, pixels: Pixels) -> Places:
        """The pixels with their coordinates and the values of the fields."""
        (rows, columns), x, y = pixels, self.part.x[0], self.part.y[:, 0]
        index = rows * len(x) + columns
        fields = (field.take(index) for field in (self.clouds, self.lobules, self.mottle))
        return Places(x.take(columns), y.take(rows), self.z, *fields)


def edge(distances: np.ndarray, *, rounding: float = 0.0) -> np.ndarray:
    """Distance to the border of the nearest cell, mm, (n,), from ascending distances (count, n) to cell centres.

    rounding: mm by which corners between several cells are rounded, as in cysts.
    """
    if not rounding:
        return (distances[1] - distances[0]) / 2
    borders = (distances[1:] - distances[:1]) / 2
    return -rounding * np.log(np.exp(-borders / rounding).sum(axis=0))


def ascending(four: np.ndarray) -> np.ndarray:
    """The columns of `four`, (4, n), sorted."""
    a, b, c, d = four
    a, b, c, d = np.minimum(a, b), np.maximum(a, b), np.minimum(c, d), np.maximum(c, d)
    a, c, b, d = np.minimum(a, c), np.maximum(a, c), np.minimum(b, d), np.maximum(b, d)
    return np.stack([a, np.minimum(b, c), np.maximum(b, c), d])


def step(distance: np.ndarray, softness: float) -> np.ndarray:
    """A smooth step from 0 to 1 within about `softness` mm on either side of distance 0, in the shape of `distance`."""
    return 0.5 + 0.5 * np.tanh(distance / softness)
