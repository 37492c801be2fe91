"""The slices that discovered scans will have, to check a label file before hours of preparation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ildfv.datasets.identity import hashed
from ildfv.datasets.read_labels import read_labels
from ildfv.datasets.records import Scan
from ildfv.datasets.settings import DEFAULTS, ScanSettings
from ildfv.errors import InputError, MissingPackageError
from ildfv.scans.labels import has_lung_labels
from ildfv.scans.libraries import quiet


class PlannedSlices:
    """The attributes of prepared slices that `assign_labels` uses, taken from the headers of the scans."""

    def __init__(self, scans: Sequence[Scan], salt: str, settings: ScanSettings = DEFAULTS):
        self.settings = settings
        self._labelled: dict[int, bool] = {}  # by part
        scans = list({hashed(scan.series, salt): scan for scan in scans}.values())
        self._salt = salt
        self.names = [hashed(scan.series, salt) for scan in scans]
        self.parts = dict(zip(self.names, scans, strict=True))
        self.sizes = np.array([scan.geometry.shape[0] for scan in scans], int)
        self.starts = np.concatenate(([0], np.cumsum(self.sizes)))
        self.areas = {name: scan.geometry.shape[1:] for name, scan in self.parts.items()}
        self.positions = np.concatenate([scan.geometry.positions for scan in scans]) if scans else np.zeros(0)

    def scans(self, name: str) -> np.ndarray:
        """The hashed patient of each scan ("patient"), or whether it has a label map ("labelled").

        "labelled" is always False, because whether a label map can be used is known only after reading it.
        """
        if name == "patient":
            return np.array([hashed(scan.patient, self._salt) for scan in self.parts.values()])
        return np.zeros(len(self.names), bool)

    def is_labelled(self, part: int) -> bool:
        """Whether the label maps of a scan will label any slice, as `convert.scan_slices` decides.

        The label maps are read, but not the scan. A label map that cannot be read labels nothing: its scan will be
        quarantined, and the report has the reason.
        """
        if part not in self._labelled:
            self._labelled[part] = self._label_maps_mark(self.parts[self.names[part]])
        return self._labelled[part]

    def _label_maps_mark(self, scan: Scan) -> bool:
        codes = self.settings.codes
        if not scan.labels or codes is None:
            return False
        try:
            with quiet():
                meanings = read_labels(scan, scan.geometry, codes)
        except (InputError, MissingPackageError):
            return False
        return self.settings.unlabelled_is_negative or has_lung_labels(meanings)
