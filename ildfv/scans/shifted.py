"""Detection of slices whose HU are shifted, for example because one file lacks the rescale intercept.

A scan with such slices may pass the checks of `volume`, which consider all slices together. Anatomy, contrast medium,
metal and padding change the shares of air and soft tissue in a slice, but not the HU of their peaks. A slice is
therefore shifted if its histogram, moved by at least `MIN_SHIFT`, is much more similar to that of the other slices.
"""

from __future__ import annotations

import numpy as np

from ildfv.errors import InputError

BIN = 25  # HU
LOWEST, HIGHEST = -6000, 6000  # HU; range of the histogram; values outside are counted in its end bins
MAX_SHIFT, MIN_SHIFT = 3000, 200  # HU
BLUR = np.array([1.0, 2.0, 3.0, 2.0, 1.0]) / 9  # kernel that smooths histograms against noise and small differences
MIN_SIMILARITY, MIN_GAIN = 0.75, 0.2  # Bhattacharyya coefficient of the moved histogram, and its gain by moving
AIR, SOFT, DENSE = (-1100, -700), (-200, 250), 700  # HU; dense pixels are above 700 HU
# Share of the pixels of a slice. More of them must be above soft tissue if the slice is shifted up; fewer of them must
# be soft tissue if it is shifted down.
DISPLACED = 0.05
NO_AIR, MUCH_DENSE = 0.005, 0.1  # shares; a slice with less air and padding, and more dense pixels, is also shifted up
MIN_SLICES = 3  # of two slices, either could be the shifted one


def check_slices(sample: np.ndarray, positions: np.ndarray) -> None:
    """Raises `InputError` if slices are shifted.

    sample: HU (z, y, x) of a part of the pixels. positions: mm of each slice, for the message.
    """
    if len(sample) < MIN_SLICES:
        return
    values = sample.reshape(len(sample), -1)
    shifts = _shifts(values)
    bad = np.flatnonzero(shifts)
    if not len(bad):
        return
    shown = ", ".join(f"{positions[i]:g}" for i in bad[:5]) + (", …" if len(bad) > 5 else "")
    directions = [shifts[bad][sign * shifts[bad] > 0] for sign in (1, -1)]
    by = " or ".join(f"{np.median(found):+.0f}" for found in directions if len(found))
    raise InputError(
        f"HU of all slices must be on one scale, got {len(bad)} of {len(sample)} slices shifted by about {by} HU, "
        f"at {shown} mm: correct the HU of these slices (in DICOM, the RescaleIntercept) or use another scan"
    )


def _shifts(values: np.ndarray) -> np.ndarray:
    """HU by which each slice is shifted relative to the other slices, (slices,); 0 if it is not shifted."""
    high = _share(values, SOFT[1], np.inf)
    soft, air = _share(values, *SOFT), _share(values, *AIR)
    suspects = np.flatnonzero((high > DISPLACED) | (soft < DISPLACED))
    shifts = np.zeros(len(values))
    if not len(suspects):
        return shifts
    roots = np.sqrt(_histograms(values))
    usual = np.median(roots, axis=0)
    usual /= max(float(np.linalg.norm(usual)), 1e-9)
    most = MAX_SHIFT // BIN
    padded = np.pad(usual, most)
    moved = np.stack([padded[most - k : most - k + len(usual)] for k in range(-most, most + 1)])
    steps = BIN * np.arange(-most, most + 1)
    typical_air, typical_low = float(np.median(air)), _share(values, -np.inf, AIR[0])
    for i in suspects:
        similarity = moved @ roots[i]
        best = int(similarity.argmax())
        shift = int(steps[best])
        displaced = high[i] > DISPLACED if shift > 0 else soft[i] < DISPLACED
        is_similar = similarity[best] >= max(MIN_SIMILARITY, similarity[most] + MIN_GAIN)
        if (abs(shift) >= MIN_SHIFT and displaced and is_similar) or (
            air[i] + typical_low[i] < NO_AIR < typical_air
            and _share(values[i : i + 1], DENSE, np.inf)[0] > MUCH_DENSE
            and shift > 0
        ):
            shifts[i] = shift
    return shifts


def _share(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """The share of pixels of each slice between two HU."""
    return ((values >= low) & (values <= high)).mean(axis=1)


def _histograms(values: np.ndarray) -> np.ndarray:
    """The blurred histogram of each slice, with sum 1, (slices, bins)."""
    bins = (HIGHEST - LOWEST) // BIN + 1
    index = ((np.clip(values, LOWEST, HIGHEST) - LOWEST) // BIN).astype(np.intp)
    counts = [np.convolve(np.bincount(row, minlength=bins), BLUR, mode="same") for row in index]
    return np.stack([histogram / histogram.sum() for histogram in counts])
