"""Densitometry of the lung as inputs of a head, in addition to the projections of encodings.

On real lungs a single percentile of the HU separates some patterns better than texture does, and a normalised Fisher
vector does not preserve the mean density. The densities (`scans.density`) are standardised on the training slices with
lung; a slice without lung has the value 0, the mean. Held-out patients decide which of them a pattern's head uses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ildfv.datasets.slice_store import Slices
from ildfv.errors import InputError
from ildfv.progress import SILENT, Progress
from ildfv.scans.density import BINS, COLUMNS, SCALARS

NONE = "projections"
# name → scales of projections, scalars and histogram. Blocks have unit variance in total, see `Standard.transform`.
CANDIDATES = {
    NONE: (1.0, 0.0, 0.0),
    "projections and densities": (1.0, 1.0, 0.0),
    "projections and densities, weakly penalised": (1.0, 3.0, 0.0),
    "projections, densities and histogram": (1.0, 1.0, 1.0),
    "densities": (0.0, 1.0, 0.0),
}


@dataclass(frozen=True)
class Standard:
    """Mean and scale of each density, (36,), of the training slices with lung."""

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, densities: np.ndarray) -> Standard:
        """The standard of training slices (n, 36). Each of the two blocks, scalars and histogram, gets variance 1."""
        known = densities[np.isfinite(densities).all(axis=1)]
        if not len(known):
            return cls(np.zeros(len(COLUMNS)), np.ones(len(COLUMNS)))
        mean, deviation = known.mean(axis=0), known.std(axis=0)
        sizes = np.repeat([len(SCALARS), BINS], [len(SCALARS), BINS])
        return cls(mean, np.where(deviation > 0, deviation, 1.0) * np.sqrt(sizes))

    def transform(self, densities: np.ndarray) -> np.ndarray:
        """(densities − mean) / scale, (n, 36); 0 for a slice without lung."""
        return np.nan_to_num((densities - self.mean) / self.scale, nan=0.0)

    def to_tensors(self) -> dict[str, np.ndarray]:
        """The arrays by name."""
        return {"density_mean": self.mean, "density_scale": self.scale}


def candidates(n_projections: int) -> dict[str, np.ndarray]:
    """`CANDIDATES` as scales of all inputs, (n_projections + 36,)."""
    sizes = (n_projections, len(SCALARS), BINS)
    return {name: np.repeat(scales, sizes) for name, scales in CANDIDATES.items()}


def densities_of(slices: Slices, progress: Progress = SILENT) -> np.ndarray | None:
    """The densities of all slices, float64 (N, 36); None, with a note, if some parts have none."""
    try:
        return slices.densities().astype(np.float64)
    except InputError as error:
        progress.note(f"heads use no densities: {error}")
        return None
