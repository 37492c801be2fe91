"""Tables 1 and 2 of the paper for a workspace's slices."""

from __future__ import annotations

from pathlib import Path

from ildfv.evaluation.statistics import statistics
from ildfv.patterns import PATTERNS, presence
from ildfv.pipeline.workspace import Workspace


def slice_statistics(root: Path, threshold: int | None = None) -> dict:
    """The numbers of slices and patients with each pattern and combination, see `evaluation.statistics`.

    threshold: number of pixels from which a pattern counts as present; None for the workspace's.
    """
    workspace = Workspace.open(root)
    slices = workspace.slices()
    threshold = workspace.settings.threshold if threshold is None else threshold
    return {
        "data": slices.data,
        **statistics(presence(slices.counts, threshold), slices.patients, labels=PATTERNS, threshold=threshold),
    }
