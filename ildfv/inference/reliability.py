"""Statements that compare a scan with the slices that a predictor was trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ildfv.scans.volume import Volume

if TYPE_CHECKING:
    from ildfv.inference.predictor import Predictor

MARGIN = 1.05  # factor by which a pixel side or spacing may exceed the training range
LOW = 1  # percentile of the training slices below which a likelihood is reported
MAX_SLICES = 64  # slices whose likelihood is computed, evenly spaced


def statements(predictor: Predictor, volume: Volume, images: np.ndarray) -> list[str]:
    """Sentences for the user; the first one summarises."""
    reference, found = predictor.info.reference, []
    side = float(np.sqrt(volume.pixel_area))
    low, high = reference.pixel_side
    if not low / MARGIN <= side <= high * MARGIN:
        found.append(f"Pixels are {side:.2f} mm wide; the training scans had {low:.2f} to {high:.2f} mm.")
    spacing = float(volume.spacing[0])
    if reference.spacing is not None:
        low, high = reference.spacing
        if len(volume.hu) > 1 and not low / MARGIN <= spacing <= high * MARGIN:
            found.append(f"Slices are {spacing:.2f} mm apart; those of the training scans {low:.2f} to {high:.2f} mm.")
    chosen = images[np.unique(np.linspace(0, len(images) - 1, MAX_SLICES).astype(int))]
    for encoding, quantiles in reference.log_likelihood.items():
        values = predictor.log_likelihoods(chosen, volume.pixel_area, encoding)
        values = values[np.isfinite(values)]
        if len(values):
            percentile = float(np.interp(np.median(values), quantiles, np.arange(len(quantiles))))
            if percentile < LOW:
                found.append(
                    f"The texture of half of the slices is less likely than that of {100 - LOW} % of the training "
                    f"slices (mixture of {encoding}): results are not reliable."
                )
    if not found:
        return ["Pixel size, slice spacing and texture likelihood are within the range of the training slices."]
    return [f"The scan differs from the training data in {len(found)} respect{'s' * (len(found) > 1)}.", *found]
