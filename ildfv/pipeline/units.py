"""The units that are scored in a workspace: slices or, if scans are labelled as a whole, scans."""

from __future__ import annotations

import numpy as np

from ildfv.datasets.slice_store import Slices
from ildfv.evaluation.fold_warnings import fold_warnings
from ildfv.evaluation.folds import Folds
from ildfv.patterns import ABSENT, PATTERNS, PRESENT, Threshold
from ildfv.pipeline.by_scan import scan_presence, scans_of, unit_of
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
    """Whether each pattern has a label on any of these units, by default on any unit of the study, bool (C,)."""
    labels = slices.counts if slices.scan_labels is None else slices.scan_labels
    return np.logical_or.reduce(labels[units] >= 0, axis=0)


def unlearned_patterns(slices: Slices, train: np.ndarray, threshold: Threshold) -> tuple[str, ...]:
    """The patterns that none of the training slices `train`, or none of their scans, shows."""
    presence = presence_of(slices, units_of(slices, train), threshold)
    return tuple(pattern for pattern, column in zip(PATTERNS, presence.T, strict=True) if not (column > 0).any())


def has_pixel_counts(slices: Slices) -> bool:
    """Whether any label is a number of pixels. T is applied to numbers of pixels, not to labels of presence."""
    return slices.scan_labels is None and bool(((slices.counts > ABSENT) & (slices.counts < PRESENT)).any())


def fold_notes(slices: Slices, folds: Folds) -> list[str]:
    """The warnings about the folds of a study (`fold_warnings`), in terms of its labels."""
    known = labelled_patterns(slices)
    unlabelled = [pattern for pattern, has_label in zip(PATTERNS, known.tolist(), strict=True) if not has_label]
    return fold_warnings(folds, unit_of(slices), pixel_counts=has_pixel_counts(slices), unlabelled=unlabelled)


def patients_of(slices: Slices, units: np.ndarray) -> np.ndarray:
    """The hashed patient of each of these units, (m,)."""
    return slices.patients[units] if slices.scan_labels is None else slices.scans("patient")[units]
