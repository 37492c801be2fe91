"""The delivery of a prediction: DICOM objects in a folder, and on a PACS."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from ildfv.datasets.records import Scan
from ildfv.dicom_output.write import holds, paths, write_objects
from ildfv.errors import check
from ildfv.inference.prediction import Prediction
from ildfv.inference.pseudonym import pseudonym


class Destination(Protocol):
    """A PACS that stores files."""

    def store(self, files: list[Path]) -> int:
        """Stores files and returns their number."""


class ObjectDelivery:
    """Writes the DICOM objects of each scan to a separate folder, and stores them on the destination if there is one.

    delivered: for each scan, its pseudonym ("scan") and the numbers of objects written ("objects") and stored
    ("stored").
    """

    def __init__(self, folder: Path, destination: Destination | None):
        self.folder, self._destination = folder, destination
        self.delivered: list[dict] = []

    def finish(self, scan: Scan, checksum: str) -> bool:
        """Stores the objects of the scan that an earlier run has written; returns False if there are none.

        InputError: the scan is not DICOM, or the objects cannot be stored.
        """
        check(
            scan.dicom is not None,
            f"{scan.source} must be DICOM for --dicom and --store, got a volume file without patient and study: "
            "use --out",
        )
        assert scan.dicom is not None
        folder = self.folder / pseudonym(scan)
        if not holds(folder, checksum, scan.dicom):
            return False
        self._store(scan, folder)
        return True

    def deliver(self, prediction: Prediction, scan: Scan) -> None:
        """Writes the objects, then stores them. InputError: the objects cannot be written or stored."""
        assert scan.dicom is not None  # `finish` has checked
        folder = self.folder / pseudonym(scan)
        write_objects(folder, prediction, scan.dicom)
        self._store(scan, folder)

    def _store(self, scan: Scan, folder: Path) -> None:
        files = paths(folder)
        stored = 0 if self._destination is None else self._destination.store(files)
        self.delivered.append({"scan": pseudonym(scan), "objects": len(files), "stored": stored})
