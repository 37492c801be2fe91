"""Tables 1 and 2 of the paper for a workspace's slices."""

from __future__ import annotations

from pathlib import Path

from ildfv.evaluation.documents import SCAN
from ildfv.evaluation.statistics import statistics
from ildfv.patterns import PATTERNS, presence
from ildfv.pipeline.workspace import Workspace


def slice_statistics(root: Path, threshold: int | None = None) -> dict:
    """The numbers of slices and patients with each pattern and combination, see `evaluation.statistics`.

    If scans are labelled as a whole, "unit" is "scan", and all numbers of slices are numbers of scans.
    threshold: number of pixels from which a pattern counts as present; None for the workspace's.
    """
    workspace = Workspace.open(root)
    slices = workspace.slices()
    threshold = workspace.settings.threshold if threshold is None else threshold
    unit: dict = {"data": slices.data}
    if slices.scan_labels is not None:
        found, patients, unit["unit"] = slices.scan_labels, slices.scans("patient"), SCAN
    else:
        found, patients = presence(slices.counts, threshold), slices.patients
    return {**unit, **statistics(found, patients, labels=PATTERNS, threshold=threshold)}
