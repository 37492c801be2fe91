"""Tables 1 and 2 of the paper for a workspace's slices."""

from __future__ import annotations

from pathlib import Path

from ildfv.evaluation.documents import SCAN
from ildfv.evaluation.statistics import statistics
from ildfv.patterns import PATTERNS, Threshold, parse_threshold, presence
from ildfv.pipeline.units import has_pixel_counts
from ildfv.pipeline.workspace import Workspace


def slice_statistics(root: Path, threshold: Threshold | None = None) -> dict:
    """The numbers of slices and patients with each pattern and combination, see `evaluation.statistics`.

    "pixel_counts" states whether labels are pixel counts, to which the threshold is applied.
    If scans are labelled as a whole, "unit" is "scan", and all numbers of slices are numbers of scans.
    threshold: T in pixels, or in percent of the lung such as "5%"; None: that of the workspace.
    """
    workspace = Workspace.open(root)
    slices = workspace.slices()
    threshold = workspace.settings.threshold if threshold is None else parse_threshold(threshold)
    unit: dict = {"data": slices.data, "pixel_counts": has_pixel_counts(slices)}
    if slices.scan_labels is not None:
        found, patients, unit["unit"] = slices.scan_labels, slices.scans("patient"), SCAN
    else:
        found, patients = presence(slices.counts, threshold, slices.lung), slices.patients
    return {**unit, **statistics(found, patients, labels=PATTERNS, threshold=threshold)}
