"""Similar slices of other patients in a workspace: the nearest projections of Fisher vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ildfv.errors import InputError, check
from ildfv.pipeline.encode_again import encode_again
from ildfv.pipeline.encodings import FINISHED, Encoding, newest
from ildfv.pipeline.workspace import Workspace
from ildfv.viewer.scan import ViewedScan

COUNT = 6  # maximum number of results, one per patient


class Similar:
    """Search among the slices of all scans. Projections are read scan by scan, so memory use is constant."""

    def __init__(self, encoding: Encoding, scans: Sequence[ViewedScan]):
        self.encoding, self.scans = encoding, scans

    def of(self, number: int, z: int) -> dict[str, Any]:
        """The slices nearest to slice z of a scan, nearest first: at most one per patient, and of other patients only.

        InputError: no such slice, or the encoding is damaged.
        """
        scan = self.scans[number]
        check(0 <= z < len(scan), f"slice must be in [0, {len(scan)}), got {z}")
        ((_, own),) = self.encoding.parts([scan.name])
        numbers = {other_scan.name: i for i, other_scan in enumerate(self.scans)}
        best: dict[str, tuple[float, int, int]] = {}  # patient → distance, scan, slice
        for name, rows in self.encoding.parts():
            other = numbers[name]
            patient = self.scans[other].patient
            if patient == scan.patient:
                continue
            distances = np.linalg.norm(rows - own[z], axis=1)
            nearest = int(distances.argmin())
            best[patient] = min(best.get(patient, (np.inf, 0, 0)), (float(distances[nearest]), other, nearest))
        results = [{"distance": d, "scan": i, "slice": slice_} for d, i, slice_ in sorted(best.values())[:COUNT]]
        encoding = self.encoding
        return {"layer": encoding.layer, "region": encoding.region, "fold": encoding.fold, "results": results}


def similar_of(workspace: Workspace, scans: Sequence[ViewedScan], slices_key: str) -> tuple[Similar | None, list[str]]:
    """The search in the newest encoding of the current slices, or None if there is none, and notes for the user.

    The stored projections of all slices are compared, so encodings of frozen networks need no weights.
    """
    if not any(workspace.encodings_dir.glob(f"*/fold-*/{FINISHED}")):
        return None, []
    try:
        encoding = newest(workspace, usable=lambda one: one.inputs["slices"] == slices_key)
        check(
            encoding.inputs["slices"] == slices_key,
            f"{encoding.folder.parent.name} was encoded from other slices: run `{encode_again(encoding)}`",
        )
    except InputError as error:  # the rest of the workspace can still be viewed
        return None, [f"Similar slices are not available: {error}"]
    return Similar(encoding, scans), []
