"""Regions of the patterns: irregular, coherent in 3-D, and distributed as each pattern is in patients."""

import numpy as np

from ildfv.kernels.drawing import doubled
from ildfv.phantom.chest import Chest
from ildfv.phantom.fields import Field, Grid, Part, bounds

OUTSIDE, HEALTHY = 0, 1  # label codes; pattern k has code k + 2 (codes/phantom.toml)

# Per pattern: decrease of the score per mm below the pleura, width of the zone along the lung (u = 0 base … 1 apex),
# preference for posterior lung. Fibrosis is subpleural, basal and posterior; emphysema is apical; ground glass has no
# subpleural preference and a wide zone.
SUBPLEURAL = (0.0, 1 / 13, 1 / 8, 0.0)
ZONE = (0.42, 0.38, 0.34, 0.38)
POSTERIOR = (0.2, 0.4, 0.5, -0.2)


class Disease:
    """The pattern regions of one chest.

    A pattern's score is a smooth random field plus its spatial preferences. The pattern is present where the score
    exceeds the threshold at which the pattern covers its share of the lung. Where two patterns overlap, the one that
    exceeds its threshold by more is drawn.
    """

    def __init__(self, chest: Chest):
        self.chest = chest
        p = chest.patient
        volume = {"reach": p.reach, "height": p.height}
        self.fields = {
            k: [Field(p.rng("region", k, scale), scale, **volume) for scale in (34, 11, 4.5)] for k in p.patterns
        }
        self.thresholds = self._thresholds()

    def score(self, pattern: int, grid: Grid | Part, z: float, pleura: np.ndarray) -> np.ndarray:
        """The score at the pixels of a grid or of a part of it, shaped like `pleura`."""
        p, u = self.chest.patient, z / self.chest.patient.height
        wide, middle, fine = (field(grid, z) for field in self.fields[pattern])
        score = 0.75 * wide + 0.4 * middle + 0.12 * fine
        score -= SUBPLEURAL[pattern] * pleura
        score += POSTERIOR[pattern] * grid.y / p.half_depth
        return score - ((u - p.centres[pattern]) / ZONE[pattern]) ** 2

    def _thresholds(self, steps: int = 24) -> dict[int, float]:
        p = self.chest.patient
        grid = p.grid.coarse(8)
        scores: dict[int, list[np.ndarray]] = {k: [] for k in p.patterns}
        for z in (np.arange(steps) + 0.5) / steps * p.height:
            surface = self.chest.lung(grid, z)
            lung, pleura = surface < 0, self.chest.pleura(grid, z, surface)
            for k in p.patterns:
                scores[k].append(self.score(k, grid, z, pleura)[lung])
        return {k: float(np.quantile(np.concatenate(scores[k]), 1 - p.extents[k])) for k in p.patterns}

    def codes(self, lung: np.ndarray, pleura: np.ndarray, z: float) -> np.ndarray:
        """Label codes on the plane, (512, 512) uint8. lung, pleura: as in `Plane`."""
        half = self.chest.patient.grid.coarse(2)
        codes = np.where(lung < 0, HEALTHY, OUTSIDE).astype(np.uint8)
        if not codes.any():
            return codes
        # Scores have half the resolution. One more pixel is needed for their interpolation at the border of the lung.
        low, high = bounds(codes == HEALTHY)
        first, last = np.maximum(low // 2 - 1, 0), np.minimum((high + 1) // 2 + 1, half.size)
        box = np.s_[first[0] : last[0], first[1] : last[1]]
        part, near = half.part(box), codes[2 * first[0] : 2 * last[0], 2 * first[1] : 2 * last[1]]
        best = np.zeros(near.shape, np.float32)
        for k in self.chest.patient.patterns:
            excess = doubled(self.score(k, part, z, pleura[box]).astype(np.float32)) - self.thresholds[k]
            near[(excess > best) & (near != OUTSIDE)] = k + 2
            best = np.maximum(best, excess)
        return codes
