"""Statistics of homogeneous soft tissue in a scan: its attenuation and its noise.

Means and standard deviations are computed in windows of 6 mm on a few slices. The most frequent standard deviation of
windows in soft tissue is the noise (Christianson et al., AJR 205, 2015: "global noise level"), because windows with an
edge in them have larger and widely scattered values.
"""

from __future__ import annotations

import numpy as np

from ildfv.counted import counted
from ildfv.errors import check

WINDOW = 6.0  # mm, side of a window
SOFT = (0.0, 100.0)  # mean HU of a window in soft tissue, without fat, contrast medium and bone
CLIP = (-300.0, 400.0)  # HU; edges with lung and bone need not be exact
SLICES = 12  # slices that are read, evenly spaced
FEWEST = 200  # windows; a single slice has about 1,000
NEAR = 1.4  # windows whose standard deviation is within this factor of the mode are homogeneous


def spaced(m: int, number: int = SLICES) -> np.ndarray:
    """Indices of at most `number` of m slices, (n,): those at the centres of `number` equal parts of the scan."""
    return np.unique(((np.arange(number) + 0.5) * m / number).astype(int).clip(0, m - 1))


def windows(hu: np.ndarray, pixel: float) -> tuple[np.ndarray, np.ndarray]:
    """(means, standard deviations) in windows around every pixel, HU, (rows, columns) each.

    hu: one slice, which is clipped to `CLIP` first. pixel: mm.
    """
    from scipy import ndimage

    side = 2 * max(1, round(WINDOW / pixel / 2)) + 1
    x = np.clip(hu, *CLIP).astype(np.float32)
    mean = ndimage.uniform_filter(x, side)
    square = ndimage.uniform_filter(x * x, side)
    return mean, np.sqrt(np.maximum(square - mean * mean, 0))


def soft_tissue(slices: np.ndarray, pixel_area: float) -> tuple[np.ndarray, np.ndarray]:
    """(means, standard deviations) of the windows in soft tissue on these slices (m, rows, columns), HU, (n,) each.

    Windows overlap by half. Raises `InputError` if there are fewer than 200.
    """
    pixel = float(np.sqrt(pixel_area))
    step = max(1, round(WINDOW / pixel / 2))
    means, deviations = [], []
    for hu in slices:
        mean, deviation = (found[::step, ::step] for found in windows(hu, pixel))
        inside = (mean >= SOFT[0]) & (mean <= SOFT[1])
        means.append(mean[inside])
        deviations.append(deviation[inside])
    found = np.concatenate(means), np.concatenate(deviations)
    check(
        len(found[0]) >= FEWEST,
        f"a scan must show soft tissue of {SOFT[0]:g} to {SOFT[1]:g} HU to measure noise or tissue, got "
        f"{counted(len(found[0]), 'square')} of {WINDOW:g} mm instead of {FEWEST} (cropped or masked scan?)",
        faq="scanner-options",
    )
    return found


def noise_of(deviations: np.ndarray) -> float:
    """The noise, HU: the median of the standard deviations near their mode, which varies less than the mode."""
    peak = mode(deviations)
    return float(np.median(deviations[(deviations >= peak / NEAR) & (deviations <= peak * NEAR)]))


def mode(values: np.ndarray) -> float:
    """The half-sample mode (Robertson, Cryer 1974): the shortest half of the values is chosen repeatedly."""
    return mode_of_counts(*np.unique(values, return_counts=True))


def mode_of_counts(values: np.ndarray, numbers: np.ndarray) -> float:
    """The `mode` of distinct values in ascending order, of which each occurs as often as `numbers` says."""
    values, n = values.astype(np.float64), int(numbers.sum())
    while n > 2:
        half = (n + 1) // 2
        stops = np.cumsum(numbers)  # positions of each value among the sorted values: from starts to stops
        starts = stops - numbers
        # Of equally short halves, the first begins at the first position of a value.
        last = values[np.searchsorted(stops, starts[starts <= n - half] + half - 1, side="right")]
        start = starts[(last - values[: len(last)]).argmin()]
        numbers = np.minimum(stops, start + half) - np.maximum(starts, start)
        values, numbers, n = values[numbers > 0], numbers[numbers > 0], half
    return float(values @ numbers / n)
