"""The paper's training targets (Fig. 3), computed from pixel counts on the original grid."""

from __future__ import annotations

import numpy as np

from ildfv.errors import InputError, check
from ildfv.patterns import PRESENT, THRESHOLD, Threshold, parse_threshold, presence

TARGETS = ("presence", "counts", "step", "ramp")


def targets(
    kind: str,
    counts: np.ndarray,
    *,
    threshold: Threshold = THRESHOLD,
    ramp: tuple[float, float] | None = None,
    lung: np.ndarray | None = None,
) -> np.ndarray:
    """Targets (m, c), float32, of pixel counts (m, c). lung: (m,) lung pixels, for a threshold in percent of them.

    presence: 1 for at least `threshold` T pixels, else −1. It is the target of logistic losses.
    counts: count / T, which is 1 if a pattern is just present. The other regression targets are as large, so the same
        learning rate can be used. The unit of the loss is a separate setting; see `objective`.
    step: 1 for at least T pixels, else 0.
    ramp: 0 up to T1 pixels, 1 for at least T2, linear in between; (T1, T2) = (T/2, 3T/2) by default, centred on T.
    """
    counts = np.asarray(counts)
    check_threshold(kind, threshold)
    check(counts.size == 0 or counts.min() >= 0, "counts must not be negative: exclude unlabelled slices (−1)")
    by_presence = kind == "counts" and bool((counts >= PRESENT).any())
    check(not by_presence, 'target "counts" needs pixel counts, got labels of presence on some slices: use target step')
    if kind == "presence":
        return (2 * presence(counts, threshold, lung) - 1).astype(np.float32)
    if kind == "counts":
        return (counts / int(threshold)).astype(np.float32)
    if kind == "step":
        return presence(counts, threshold, lung).astype(np.float32)
    if kind == "ramp":
        low, high = ramp or (0.5 * int(threshold), 1.5 * int(threshold))
        check(0 <= low < high, f"ramp must be (T1, T2) with 0 ≤ T1 < T2, got ({low:g}, {high:g})")
        return np.clip((counts - low) / (high - low), 0, 1).astype(np.float32)
    raise InputError(f'target must be one of {", ".join(TARGETS)}, got "{kind}"')


def check_threshold(kind: str, threshold: Threshold) -> None:
    """Raises InputError unless the threshold is positive, and in pixels if the targets are numbers of pixels."""
    if not isinstance(threshold, str):
        check(threshold > 0, f"threshold must be positive, got {threshold}")
        return
    parse_threshold(threshold)
    rule = f'threshold must be a number of pixels for target "{kind}", got {threshold}'
    check(kind in ("presence", "step"), f"{rule}: use --target step, or --threshold with a number of pixels")
