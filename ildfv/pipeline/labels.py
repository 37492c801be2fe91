"""Presence of the patterns as regressions use it."""

from __future__ import annotations

import numpy as np

from ildfv.datasets.slice_store import Slices
from ildfv.patterns import presence


def presence_labels(slices: Slices, indices: np.ndarray, threshold: int) -> np.ndarray:
    """1 where a slice shows a pattern, 0 where it does not, NaN where it is unknown; float64 (m, C)."""
    found = presence(slices.counts[indices], threshold)
    return np.where(found < 0, np.nan, found.astype(np.float64))
