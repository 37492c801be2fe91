"""The units that are scored in a workspace: slices or, if scans are labelled as a whole, scans."""

from __future__ import annotations

import numpy as np

from ildfv.datasets.slice_store import Slices
from ildfv.patterns import Threshold
from ildfv.pipeline.by_scan import scan_presence, scans_of
from ildfv.pipeline.split import labelled_presence


def units_of(slices: Slices, indices: np.ndarray) -> np.ndarray:
    """The indices of these slices, or of their scans."""
    return indices if slices.scan_labels is None else scans_of(slices, indices)


def presence_of(slices: Slices, units: np.ndarray, threshold: Threshold) -> np.ndarray:
    """The presence of each pattern in these units, 1, 0 or −1 (unknown), (m, C). InputError: a unit has no labels."""
    if slices.scan_labels is None:
        return labelled_presence(slices, units, threshold)
    return scan_presence(slices, units)


def labelled_patterns(slices: Slices, units: np.ndarray | slice = slice(None)) -> np.ndarray:
    """Whether each pattern has a label on any of these units, by default on any of the study, bool (C,)."""
    labels = slices.counts if slices.scan_labels is None else slices.scan_labels
    return np.logical_or.reduce(labels[units] >= 0, axis=0)


def patients_of(slices: Slices, units: np.ndarray) -> np.ndarray:
    """The hashed patient of each of these units, (m,)."""
    return slices.patients[units] if slices.scan_labels is None else slices.scans("patient")[units]
