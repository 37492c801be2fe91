"""The four patterns, their order everywhere, and when one counts as present."""

from __future__ import annotations

import numpy as np

PATTERNS = ("ground glass", "reticular", "honeycomb", "emphysema")

THRESHOLD = 6000  # pixels on the original grid: the paper's first choice of T, the other is 4000
UNLABELLED = -1  # the count of a slice whose scan came without a label map


def presence(counts, threshold: int = THRESHOLD) -> np.ndarray:
    """1 where a pattern covers at least `threshold` pixels of the slice, else 0; −1 on slices without a label map.

    counts: (N, 4) pixels on the original grid. int8, the same shape.
    """
    counts = np.asarray(counts)
    return np.where(counts == UNLABELLED, -1, counts >= threshold).astype(np.int8)
