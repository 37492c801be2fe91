"""The data of patients that the stratification of folds balances."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

# Where a fold has no patient with a pattern, F and AUC are undefined. The number of patients with a pattern therefore
# has a larger weight than the numbers of slices.
SLICES_WEIGHT, PATIENTS_WEIGHT = 1, 4


@dataclass(frozen=True)
class Profile:
    """The data of one patient for stratification: number of labelled slices, and of slices with each pattern."""

    slices: int
    patterns: tuple[int, ...]


def quantities(profiles: Iterable[Profile]) -> np.ndarray:
    """The quantities to balance, (P, 1 + 2·C): slices, slices with each pattern, whether each pattern is present."""
    profiles = list(profiles)
    slices = np.array([[p.slices] for p in profiles], dtype=float)
    shown = np.array([p.patterns for p in profiles], dtype=float)
    return np.hstack([slices, shown, shown > 0])


def weights(n_labels: int) -> tuple[int, ...]:
    """Weight of each column of `quantities`, (1 + 2·C,)."""
    return (SLICES_WEIGHT,) * (1 + n_labels) + (PATIENTS_WEIGHT,) * n_labels
