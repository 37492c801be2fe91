"""The labels of slices as targets of regressions. Unknown labels are NaN."""

from __future__ import annotations

import numpy as np

from ildfv.datasets.slice_store import Slices
from ildfv.errors import check
from ildfv.patterns import PRESENT, THRESHOLD, Threshold, lung_percentage, presence
from ildfv.pipeline.choices import COUNTS, DEFAULT_TARGET, FRACTION, STEP, check_target
from ildfv.progress import Progress


def presence_labels(slices: Slices, indices: np.ndarray, threshold: Threshold) -> np.ndarray:
    """1 where a slice shows a pattern, 0 where it does not, NaN where the label is unknown; float64 (m, C)."""
    return as_targets(presence(slices.counts[indices], threshold, slices.lung[indices]))


def as_targets(found: np.ndarray) -> np.ndarray:
    """Presence 1, 0 or −1 (unknown) as 1, 0 or NaN, float64."""
    return np.where(found < 0, np.nan, found.astype(np.float64))


def target_of(head: str, target: str | None, slices: Slices, progress: Progress) -> str:
    """The given target or, if it is None, the default of the head.

    If some labels state only the presence of patterns, the default "counts" is replaced by "step", with a note.
    """
    if target is not None:
        return target
    default = DEFAULT_TARGET[head]
    if default != COUNTS or not (slices.counts >= PRESENT).any():
        return default
    progress.note("target step is used, because some labels state the presence of patterns, not numbers of pixels")
    return STEP


def regression_targets(target: str, slices: Slices, indices: np.ndarray, threshold: Threshold) -> np.ndarray:
    """Targets of a regression, float32 (m, C); NaN where a label is unknown.

    target: one of `train.targets`, or "fraction", the fraction of the lung's pixels that the pattern covers. On a slice
    without lung, the fraction is 0 for a pattern without pixels, and otherwise unknown. With a threshold in percent of
    the lung, "counts" is the fraction divided by the threshold, and "ramp" is computed from the fraction.

    InputError: the target is unknown, or needs numbers of pixels, but labels state only the presence of patterns.
    """
    from ildfv.train.targets import targets

    check_target(target)
    percentage = lung_percentage(threshold)
    if target == STEP:
        return presence_labels(slices, indices, threshold).astype(np.float32)
    if target == FRACTION:
        return _fractions(target, slices, indices).astype(np.float32)
    if percentage is None:
        counts = slices.counts[indices]
        known = counts >= 0
        values = targets(target, np.where(known, counts, 0), threshold=threshold)
        return np.where(known, values, np.nan).astype(np.float32)
    fractions = _fractions(target, slices, indices)
    scaled = np.nan_to_num(fractions) * (100 * THRESHOLD / percentage)  # THRESHOLD where the fraction is T
    values = targets(target, scaled, threshold=THRESHOLD)
    return np.where(np.isnan(fractions), np.nan, values).astype(np.float32)


def _fractions(target: str, slices: Slices, indices: np.ndarray) -> np.ndarray:
    """The fraction of the lung's pixels that each pattern covers, float64 (m, C); NaN where it is unknown."""
    counts = slices.counts[indices]
    check(
        not (counts >= PRESENT).any(),
        f'target "{target}" needs pixel counts, got labels of presence on some slices: use target step',
    )
    lung = slices.lung[indices][:, None].astype(np.float64)
    unknown = (counts < 0) | ((lung == 0) & (counts > 0))
    return np.where(unknown, np.nan, counts / np.maximum(lung, 1))
