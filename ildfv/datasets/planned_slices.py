"""The slices that discovered scans will have, to check a label file before hours of preparation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ildfv.datasets.identity import hashed
from ildfv.datasets.records import Scan


class PlannedSlices:
    """The attributes of prepared slices that `assign_labels` uses, taken from the headers of the scans."""

    def __init__(self, scans: Sequence[Scan], salt: str):
        scans = list({hashed(scan.series, salt): scan for scan in scans}.values())
        self._salt = salt
        self.names = [hashed(scan.series, salt) for scan in scans]
        self.parts = dict(zip(self.names, scans, strict=True))
        self.sizes = np.array([scan.geometry.shape[0] for scan in scans], int)
        self.starts = np.concatenate(([0], np.cumsum(self.sizes)))
        self.areas = {name: scan.geometry.shape[1:] for name, scan in self.parts.items()}
        self.positions = np.concatenate([_positions(scan) for scan in scans]) if scans else np.zeros(0)

    def scans(self, name: str) -> np.ndarray:
        """The hashed patient of each scan ("patient"), or whether it has a label map ("labelled").

        The latter is False, because whether a label map can be used is known only after reading it.
        """
        if name == "patient":
            return np.array([hashed(scan.patient, self._salt) for scan in self.parts.values()])
        return np.zeros(len(self.names), bool)


def _positions(scan: Scan) -> np.ndarray:
    """Position of each slice along the slice normal in mm, like `scans.volume.Volume.positions`."""
    z, y, x = scan.geometry.steps
    normal = np.cross(x, y)
    normal /= np.linalg.norm(normal)
    return scan.geometry.origin @ normal + (z @ normal) * np.arange(scan.geometry.shape[0])
