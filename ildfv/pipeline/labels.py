"""The labels of slices as targets of regressions. Unknown labels are NaN."""

from __future__ import annotations

import numpy as np

from ildfv.datasets.slice_store import Slices
from ildfv.errors import check
from ildfv.patterns import PRESENT, presence
from ildfv.pipeline.choices import FRACTION, check_target


def presence_labels(slices: Slices, indices: np.ndarray, threshold: int) -> np.ndarray:
    """1 where a slice shows a pattern, 0 where it does not, NaN where this is unknown; float64, (m, C)."""
    return as_targets(presence(slices.counts[indices], threshold))


def as_targets(found: np.ndarray) -> np.ndarray:
    """Presence 1, 0 or −1 (unknown) as 1, 0 or NaN, float64."""
    return np.where(found < 0, np.nan, found.astype(np.float64))


def regression_targets(target: str, slices: Slices, indices: np.ndarray, threshold: int) -> np.ndarray:
    """Targets of a regression, float32 (m, C); NaN where a label is unknown.

    target: one of `train.targets`, or "fraction", the fraction of the lung's pixels that the pattern covers. On a slice
    without lung, the fraction is 0 for a pattern without pixels, and otherwise unknown.
    """
    from ildfv.train.targets import targets

    check_target(target)
    counts = slices.counts[indices]
    known = counts >= 0
    if target == FRACTION:
        check(
            not (counts >= PRESENT).any(),
            f'target "{FRACTION}" needs pixel counts, got labels of presence on some slices: use target step',
        )
        lung = slices.lung[indices][:, None].astype(np.float64)
        values = np.where((lung == 0) & (counts > 0), np.nan, counts / np.maximum(lung, 1))
    else:
        values = targets(target, np.where(known, counts, 0), threshold=threshold)
    return np.where(known, values, np.nan).astype(np.float32)
