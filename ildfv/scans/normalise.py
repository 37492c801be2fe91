"""Normalisation of HU by values measured in the scan: in the air around the body and, optionally, in soft tissue.

"air" adds an offset, so that the air is at −1000 HU. "air,tissue" also scales, so that the most frequent attenuation of
homogeneous soft tissue is at 50 HU. Neither needs a segmentation: air is everything outside the body except padding;
soft tissue is found by its attenuation (`scans.tissue`). Blood is not used, because contrast medium changes it.
"""

from __future__ import annotations

import numpy as np

from ildfv.errors import check
from ildfv.kernels.slices import dilated, histogram
from ildfv.scans.body import body_mask
from ildfv.scans.tissue import NEAR, mode, mode_of_counts, noise_of, soft_tissue, spaced
from ildfv.scans.volume import MAX_HU, PADDING

NORMALISE = ("air", "air,tissue")
AIR, TISSUE = -1000.0, 50.0  # HU after normalisation
# Limits of air, HU. They are integers, so that int16 is not converted to be compared.
DENSEST = -850  # denser pixels outside the body are table, clothes or arms
# Lower values are padding. LOWEST and DENSEST are equally far from AIR, so that noise does not shift the median.
LOWEST = 2 * int(AIR) - DENSEST
MARGIN = 8.0  # mm around the body that are not used: partial volume and scatter
FEWEST = 2000  # pixels of air
NEAR_AIR = 30.0  # HU from the mode of the air
AIR_SLICES = 6  # slices on which the air of every scan is measured; each takes 1 ms
CLIPPED = 0.4  # largest share of air pixels with one value, clipped or padding; with more, the median is not reliable
AIR_RANGE, TISSUE_RANGE = (-1050.0, -960.0), (10.0, 90.0)  # plausible measured values, HU


def normalised(hu: np.ndarray, pixel_area: float, method: str) -> tuple[np.ndarray, str]:
    """(normalised HU, dtype of the input, rounded if it is an integer; a note with the measured values).

    hu: (z, y, x). pixel_area: mm². method: one of `NORMALISE`. Raises `InputError` if air or tissue cannot be measured.
    """
    chosen = hu[spaced(len(hu))]
    air = measured_air(chosen, pixel_area)
    offset, scale = AIR - air, 1.0
    note = f"HU normalised: air {air:.1f} → {AIR:.0f} HU"
    if method == "air,tissue":
        tissue = measured_tissue(chosen, pixel_area)
        scale = (TISSUE - AIR) / (tissue - air)
        offset = AIR - scale * air
        note += f", tissue {tissue:.1f} → {TISSUE:.0f} HU"
    out = np.empty_like(hu)
    for z, slice_ in enumerate(hu):  # slice by slice: float values of a whole scan take several GB
        values = np.clip(slice_.astype(np.float64) * scale + offset, PADDING, MAX_HU)
        out[z] = np.rint(values) if hu.dtype.kind == "i" else values
    return out, note


def measured_air(slices: np.ndarray, pixel_area: float) -> float:
    """The median HU of the air around the body on these slices (m, rows, columns).

    Pixels below LOWEST are padding. Raises `InputError` if there is too little air, most of it is clipped, or its
    median is not plausible.
    """
    rule = "the air around the body must be measurable to normalise HU"
    air = np.concatenate([air_around(hu, pixel_area) for hu in slices])
    fault = why_not_measurable(*distinct(air))
    check(not fault, f"{rule}, got {fault}", faq="scanner-options")
    value = float(np.median(air))
    low, high = AIR_RANGE
    check(low <= value <= high, f"{rule}, got {value:.0f} HU instead of {low:g} to {high:g}", faq="scanner-options")
    return value


def air_around(hu: np.ndarray, pixel_area: float) -> np.ndarray:
    """The HU of the pixels of air around the body on one slice, without padding, (n,); none if there is no body."""
    body = body_mask(hu)
    if not body.any():
        return np.empty(0, hu.dtype)
    near = dilated(body, max(1, round(MARGIN / np.sqrt(pixel_area))))
    return hu[~near & (hu > LOWEST) & (hu < DENSEST)]


def distinct(air: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values of these pixels in ascending order, and how often each occurs."""
    if air.dtype != np.int16 or not len(air):
        return np.unique(air, return_counts=True)
    least = int(air.min())
    numbers = histogram(air, least, int(air.max()))
    used = np.flatnonzero(numbers)
    return (used + least).astype(np.int16), numbers[used]


def why_not_measurable(values: np.ndarray, numbers: np.ndarray) -> str:
    """The reason why air cannot be measured in the pixels with these `distinct` values, or ""."""
    n = int(numbers.sum())
    if n < FEWEST:
        return f"{n} pixels other than padding instead of {FEWEST} (cropped or masked scan?)"
    clipped = numbers.max() / n
    if clipped > CLIPPED:
        return f"{clipped:.0%} of its pixels at {values[numbers.argmax()]:g} HU (clipped or padded)"
    return ""


def air_of(hu: np.ndarray, pixel_area: float) -> float | None:
    """The level of air (`level_of_air`) of a scan (z, rows, columns)."""
    chosen = hu[spaced(len(hu), AIR_SLICES)]
    return level_of_air(np.concatenate([air_around(slice_, pixel_area) for slice_ in chosen]))


def level_of_air(air: np.ndarray) -> float | None:
    """The HU of air from these pixels of air, with one decimal; None if it cannot be measured.

    It is the median of the values near the mode. It varies less than the mode, and unlike the median of all pixels, it
    is not shifted by clothes and the table. Implausible values are also returned, so that callers can report them.
    """
    values, numbers = distinct(air)
    if why_not_measurable(values, numbers):
        return None
    near = np.abs(values - mode_of_counts(values, numbers)) <= NEAR_AIR
    values, stops = values[near], np.cumsum(numbers[near])
    n = int(stops[-1])
    middle = values[np.searchsorted(stops, [(n - 1) // 2, n // 2], side="right")]
    return round((float(middle[0]) + float(middle[1])) / 2, 1)  # the median


def measured_tissue(slices: np.ndarray, pixel_area: float) -> float:
    """The most frequent mean HU of homogeneous windows in soft tissue on these slices (m, rows, columns).

    Raises `InputError` if there is too little soft tissue, or the value is not plausible.
    """
    means, deviations = soft_tissue(slices, pixel_area)
    value = mode(means[deviations <= NEAR * noise_of(deviations)])
    low, high = TISSUE_RANGE
    rule = "soft tissue must be measurable to normalise HU"
    check(low <= value <= high, f"{rule}, got {value:.0f} HU instead of {low:g} to {high:g}", faq="scanner-options")
    return value
