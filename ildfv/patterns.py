"""The four patterns in their fixed order, and the rule by which a pattern counts as present."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

PATTERNS = ("ground glass", "reticular", "honeycomb", "emphysema")

THRESHOLD = 6000  # pixels on the original grid: the paper uses T = 4000 and T = 6000
UNLABELLED = -1  # pixel count of a slice without labels, or of a pattern whose presence is unknown
# Pixel counts for labels that only state whether a pattern is present; the result is the same at every threshold.
ABSENT, PRESENT = 0, 2**30


def presence(counts, threshold: int = THRESHOLD) -> np.ndarray:
    """1 if a pattern covers at least `threshold` pixels of a slice, 0 if not, −1 if it is unknown; int8 (N, 4).

    counts: (N, 4) pixels on the original grid, or `PRESENT` and `ABSENT` for labels that only state the presence.
    """
    import numpy as np  # not above: the command line imports this module

    counts = np.asarray(counts)
    return np.where(counts == UNLABELLED, -1, counts >= threshold).astype(np.int8)


def labelled_slices(counts) -> int:
    """The number of slices with a label of any pattern. counts: (N, 4) pixels."""
    import numpy as np

    return int((np.asarray(counts) != UNLABELLED).any(axis=1).sum())
