"""Labels that state only which patterns a scan shows: targets, pooling, and checks that refuse such labels."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ildfv.datasets.slice_store import Slices
from ildfv.errors import InputError, check
from ildfv.estimators.bags import NOISY_OR, POOLINGS, Bags, check_pooling
from ildfv.evaluation.documents import SCAN
from ildfv.pipeline.labels import as_targets


def unit_of(slices: Slices) -> Literal["slice", "scan"]:
    """The unit of labels and scores: "scan" if scans are labelled as a whole, otherwise "slice"."""
    return "slice" if slices.scan_labels is None else SCAN


def refuse_scan_labels(slices: Slices, what: str, remedy: str) -> None:
    """Raises InputError if scans are labelled as a whole.

    what: the start of the message, such as the command or the head that needs labels of slices. remedy: its end.
    """
    check(slices.scan_labels is None, f"{what} needs labels of slices, got labels of scans: {remedy}")


def pooling_of(slices: Slices, bags: str | None) -> str | None:
    """The method that pools scores of slices into scores of scans, by default noisy-or; None with labels of slices.

    InputError: the method is unknown, or a method is given with labels of slices.
    """
    if bags is not None:
        check_pooling(bags)
    if slices.scan_labels is None:
        check(bags is None, f"--bags must be omitted with labels of slices, got {bags}")
        return None
    return bags or NOISY_OR


def poolings_of(slices: Slices, bags: str | None) -> tuple[str | None, ...]:
    """The pooling methods that systems of these slices can have: `bags` or, if `bags` is None, all methods.

    With labels of slices, the result is (None,). The errors are those of `pooling_of`.
    """
    pooling = pooling_of(slices, bags)
    return (pooling,) if pooling is None or bags is not None else POOLINGS


def scans_of(slices: Slices, indices: np.ndarray) -> np.ndarray:
    """The indices of the scans of these slices, ascending. InputError: some slices of a scan are not in `indices`."""
    scans, sizes = np.unique(scan_of_each(slices, indices), return_counts=True)
    check(bool((sizes == slices.sizes[scans]).all()), "scans must be complete, got only some of the slices of a scan")
    return scans


def scan_of_each(slices: Slices, indices: np.ndarray) -> np.ndarray:
    """The index of the scan of each of these slices, int (m,)."""
    return np.searchsorted(slices.starts, indices, side="right") - 1


def bags_of(slices: Slices, indices: np.ndarray, pooling: str) -> Bags:
    """The slices grouped by scan, for fitting to labels of scans (`estimators.bags`). indices: ascending."""
    return Bags(pooling, scan_of_each(slices, indices))


def scan_presence(slices: Slices, scans: np.ndarray) -> np.ndarray:
    """The presence of each pattern in these scans, 1, 0 or −1 (unknown), (m, 4). InputError: a scan has no label."""
    if slices.scan_labels is None:
        raise InputError("labels must be of scans, got labels of slices")
    found = slices.scan_labels[scans]
    unlabelled = int((found < 0).all(axis=1).sum())
    check(unlabelled == 0, f"every scan must have labels, got {unlabelled} without labels")
    return found


def bag_targets(slices: Slices, indices: np.ndarray) -> np.ndarray:
    """The label of the scan of each of these slices, 1, 0 or NaN (unknown), float64 (m, 4)."""
    return as_targets(scan_presence(slices, scan_of_each(slices, indices)))
