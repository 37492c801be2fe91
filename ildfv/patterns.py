"""The four patterns in their fixed order, and the rule by which a pattern counts as present."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ildfv.errors import InputError, check

if TYPE_CHECKING:
    import numpy as np

PATTERNS = ("ground glass", "reticular", "honeycomb", "emphysema")

Threshold = int | str  # T in pixels, or in percent of the slice's lung pixels, such as "5%"
THRESHOLD = 6000  # pixels of the scan's own grid; the paper uses T = 4000 and T = 6000
UNLABELLED = -1  # pixel count of a slice without labels, or of a pattern whose presence is unknown
# Pixel counts for labels that only state whether a pattern is present; the result is the same at every threshold.
ABSENT, PRESENT = 0, 2**30


def parse_threshold(value: Threshold) -> Threshold:
    """The threshold of presence in its stored form: 6000 for 6000 or "6000", and "5%" for "5%", "5 %" or "5.0%".

    Raises InputError unless it is a positive integer or a percentage above 0 and up to 100.
    """
    text = str(value).strip()
    digits = text.removesuffix("%").rstrip()
    try:
        number = float(digits) if text.endswith("%") else int(digits)
    except ValueError:
        number = -1
    share = isinstance(number, float)
    if not (0 < number <= 100 if share else number > 0):
        rule = "T must be a number of pixels of at least 1, or a percentage of the lung such as 5%"
        raise InputError(f"{rule}, got {value}")
    return f"{number:.10g}%" if share else int(number)


def lung_percentage(threshold: Threshold) -> float | None:
    """The percentage of the lung pixels of a slice; None if the threshold is a number of pixels."""
    return float(threshold[:-1]) if isinstance(threshold, str) else None


def extent_text(threshold: Threshold, grid: str = "") -> str:
    """The threshold as text: "6000 pixels" or "5% of the lung pixels". grid: text to append to a number of pixels."""
    return f"{threshold} of the lung pixels" if isinstance(threshold, str) else f"{threshold} pixels{grid}"


def presence(counts, threshold: Threshold = THRESHOLD, lung=None) -> np.ndarray:
    """1 if a pattern covers at least `threshold` of a slice, 0 if not, −1 if it is unknown; int8 (N, 4).

    counts: (N, 4) pixels of the scan's own grid, or `PRESENT` and `ABSENT` for labels that only state the presence.
    lung: (N,) lung pixels of the same grid, required if the threshold is a percentage. A percentage stands for at least
    one pixel: on a slice without lung pixels, a pattern with any labelled pixel is present. InputError: the threshold
    is a percentage, and `lung` is not given.
    """
    import numpy as np  # not above: the command line imports this module

    counts, percentage = np.asarray(counts), lung_percentage(threshold)
    least: Any = threshold
    if percentage is not None:
        check(lung is not None, f"T in percent needs the lung pixels of each slice, got none for T = {threshold}")
        least = np.maximum(percentage * np.asarray(lung, np.float64) / 100, 1)[:, None]  # (N, 1)
    return np.where(counts == UNLABELLED, -1, counts >= least).astype(np.int8)


def labelled_slices(counts) -> int:
    """The number of slices with a label of any pattern. counts: (N, 4) pixels."""
    import numpy as np

    return int((np.asarray(counts) != UNLABELLED).any(axis=1).sum())
