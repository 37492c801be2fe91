"""Lung densities as inputs of a head, in addition to the projections of encodings.

On real lungs, a single percentile of the HU separates some patterns better than texture does, and a normalised Fisher
vector does not preserve the mean density. The densities (`scans.density`) are four scalars, such as LAA-950, and a
histogram. They are standardised on the training slices with lung. A slice without lung has the value 0, which is the
mean. The densities that the head of a pattern uses are chosen by cross-validation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ildfv.datasets.slice_store import Slices
from ildfv.errors import InputError
from ildfv.progress import SILENT, Progress
from ildfv.scans.density import BINS, COLUMNS, SCALARS

NONE = "projections"
# Scales of the projections, the scalars and the histogram, by name. Before they are scaled, the projections of each
# encoding, the scalars and the histogram have a total variance of 1 each (`heads.fit_on_encodings`, `Standard.fit`).
CANDIDATES = {
    NONE: (1.0, 0.0, 0.0),
    "projections and densities": (1.0, 1.0, 0.0),
    "projections and densities, weakly penalised": (1.0, 3.0, 0.0),
    "projections, densities and histogram": (1.0, 1.0, 1.0),
    "densities": (0.0, 1.0, 0.0),
}


@dataclass(frozen=True)
class Standard:
    """The mean and the scale of each density over the training slices with lung, (36,) each."""

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, densities: np.ndarray) -> Standard:
        """The standardisation of training slices (n, 36). Scalars and histogram each have a total variance of 1."""
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
    """The scale of every input, (n_projections + 36,), for each of `CANDIDATES`."""
    sizes = (n_projections, len(SCALARS), BINS)
    return {name: np.repeat(scales, sizes) for name, scales in CANDIDATES.items()}


def densities_of(slices: Slices, progress: Progress = SILENT) -> np.ndarray | None:
    """The densities of all slices, float64 (N, 36); None, with a note, if some parts do not contain densities."""
    try:
        return slices.densities().astype(np.float64)
    except InputError as error:
        progress.note(f"lung densities are not used as inputs of heads: {error}")
        return None


def affine(values: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The regression for densities that are not standardised: (tensors "coef" and "intercept", fields of the head).

    The fields are "inputs", the names of the densities with coefficients other than 0, and "fill", the values of these
    densities for a slice without lung. There are none if the regression has no densities as inputs. values: tensors of
    the regression. If they contain density_mean, the last 36 inputs are standardised densities.
    """
    coef, intercept = (np.asarray(values[name], np.float64) for name in ("coef", "intercept"))
    if "density_mean" not in values:
        return {"coef": coef, "intercept": intercept}, {}
    mean, scale = values["density_mean"], values["density_scale"]
    raw = coef[:, -len(mean) :] / scale
    used = np.flatnonzero((raw != 0).any(axis=0))
    coef = np.concatenate([coef[:, : -len(mean)], raw[:, used]], axis=1)
    names = [COLUMNS[i] for i in used]
    return {"coef": coef, "intercept": intercept - raw @ mean}, {"inputs": names, "fill": mean[used].tolist()}
