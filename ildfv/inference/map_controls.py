"""Controls for the evaluation of maps: maps of the lung and of its density, without any model."""

from __future__ import annotations

import numpy as np

from ildfv.inference.localisation import LabelledSlices, System
from ildfv.patterns import PATTERNS
from ildfv.scans.windows import NORMAL, WINDOWS

LOW_ATTENUATION = -950.0  # HU, the usual limit for emphysema


def lung_control(slices: LabelledSlices) -> np.ndarray:
    """The lung mask as the map of every pattern, float (m, 4, 224, 224)."""
    return _for_all(slices.lung)


def low_attenuation_control(slices: LabelledSlices) -> np.ndarray:
    """The lung below −950 HU as the map of every pattern, float (m, 4, 224, 224)."""
    return _for_all(slices.lung & (_hounsfield(slices.images) < LOW_ATTENUATION))


def density_control(slices: LabelledSlices) -> np.ndarray:
    """The HU inside the lung, and −1400 HU elsewhere, as the map of every pattern, float (m, 4, 224, 224)."""
    return _for_all(np.where(slices.lung, _hounsfield(slices.images), WINDOWS[NORMAL][0]))


CONTROLS: dict[str, System] = {
    "lung mask": lung_control,
    "HU below −950": low_attenuation_control,
    "HU": density_control,
}


def _hounsfield(images: np.ndarray) -> np.ndarray:
    low, high = WINDOWS[NORMAL]
    return low + images[:, NORMAL].astype(np.float32) * ((high - low) / 255)


def _for_all(planes: np.ndarray) -> np.ndarray:
    return np.repeat(planes[:, None].astype(np.float32), len(PATTERNS), axis=1)
