"""Statements that compare a scan with the slices that a predictor was trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ildfv.counted import counted
from ildfv.inference.batch import SliceBatch
from ildfv.inference.schema import Reference
from ildfv.scans.volume import Volume

if TYPE_CHECKING:
    from ildfv.inference.predictor import Predictor

MARGIN = 1.05  # factor by which a pixel side or a slice spacing may be outside the training range
LUNG_MARGIN = 1.25  # the same factor for the area of lung, which differs more between patients
LOW = 1  # likelihoods below this percentile of the training slices, or above 100 − LOW, are reported
WIDER = 0.25  # fraction of its width by which the likelihood range of training scans is extended on both sides
MAX_SLICES = 64  # maximum number of slices whose likelihood is computed; they are evenly spaced


def statements(
    predictor: Predictor, volume: Volume, slices: SliceBatch, lung: np.ndarray, *, has_size: bool = True
) -> list[str]:
    """Sentences for the user. The first sentence is a summary.

    slices: the prepared slices of the scan. lung: area of lung on each slice, cm². has_size: whether the pixel size is
    known; if not, sizes are not compared.
    """
    reference = predictor.info.reference
    found = _sizes(reference, volume, lung) if has_size else []
    chosen = slices[np.unique(np.linspace(0, len(slices) - 1, MAX_SLICES).astype(int))]
    for encoding, quantiles in reference.log_likelihood.items():
        values = predictor.log_likelihoods(chosen, encoding)
        values = values[np.isfinite(values)]
        if len(values):
            found += _texture(
                float(np.median(values)), quantiles, reference.scan_log_likelihood.get(encoding), encoding
            )
    if not found and not has_size:
        return ["The texture likelihood is within the range of the training slices."] * bool(reference.log_likelihood)
    if not found:
        checked = "Pixel size, slice spacing, lung area and" if reference.lung_area else "Pixel size, slice spacing and"
        return [f"{checked} texture likelihood are within the range of the training slices."]
    return [f"The scan differs from the training data in {counted(len(found), 'respect')}.", *found]


def _sizes(reference: Reference, volume: Volume, lung: np.ndarray) -> list[str]:
    """Sentences on a pixel size, a slice spacing or an area of lung outside the range of the training data."""
    found = []
    side = float(np.sqrt(volume.pixel_area))
    low, high = reference.pixel_side
    if not low / MARGIN <= side <= high * MARGIN:
        found.append(f"Pixels are {side:.2f} mm wide; the training scans have pixels of {low:.2f} to {high:.2f} mm.")
    spacing = float(volume.spacing[0])
    if reference.spacing is not None:
        low, high = reference.spacing
        if len(volume.hu) > 1 and not low / MARGIN <= spacing <= high * MARGIN:
            found.append(
                f"Slices are {spacing:.2f} mm apart; the training slices are {low:.2f} to {high:.2f} mm apart."
            )
    if reference.lung_area is not None:
        low, high = reference.lung_area
        if not low / LUNG_MARGIN <= lung.max() <= high * LUNG_MARGIN:
            found.append(
                f"The slice with the most lung shows {lung.max():.0f} cm² of lung; on the training scans, the "
                f"corresponding slices show {low:.0f} to {high:.0f} cm²."
            )
    return found


def _texture(median: float, quantiles: list[float], scans: tuple[float, float] | None, encoding: str) -> list[str]:
    """A sentence if the median likelihood of the scan's slices is outside the range of the training data; else [].

    quantiles: 101 quantiles of the likelihood of training slices. scans: range of the medians of training scans; None
    in predictors of earlier versions. Medians vary less than single slices, so the comparison with scans is stricter.
    """
    percentile = float(np.interp(median, quantiles, np.arange(len(quantiles))))
    for word, beyond in (("less", percentile < LOW), ("more", percentile > 100 - LOW)):
        if beyond:
            return [
                f"At least half of the slices have a texture that is {word} likely than the texture of {100 - LOW} % "
                f"of the training slices (mixture of {encoding}): results are not reliable."
            ]
    if scans is None:
        return []
    low, high = scans
    margin = WIDER * (high - low)
    for word, beyond in (("less", median < low - margin), ("more", median > high + margin)):
        if beyond:
            return [
                f"The texture of the slices is {word} likely than the texture of the training scans (mixture of "
                f"{encoding}: median log likelihood {median:.3g}, training scans {low:.3g} to {high:.3g}). The kernel, "
                "the noise or the body region may differ."
            ]
    return []
