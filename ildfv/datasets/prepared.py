"""What became of every file that was handed in."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from ildfv.datasets.discovery import Left


@dataclass(frozen=True)
class Prepared:
    """A scan whose slices are in the store."""

    source: Path
    kind: str  # "dicom", "nifti" or "nrrd"
    patient: str  # salted hash
    series: str  # salted hash, the name of its part
    slices: int
    labelled: bool
    label: Path | None
    kept: bool  # finished by an earlier run, not done again
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Removed:
    """A scan whose slices, prepared by an earlier run, left the store."""

    series: str  # salted hash, the name its part had
    slices: int
    labelled: bool
    reason: str


@dataclass
class PrepareReport:
    """What became of every file handed in: in a prepared scan (or its label map), quarantined, or ignored.

    removed: the scans prepared by earlier runs that are no longer there.
    """

    prepared: list[Prepared] = field(default_factory=list)
    quarantined: list[Left] = field(default_factory=list)
    ignored: list[Left] = field(default_factory=list)
    removed: list[Removed] = field(default_factory=list)

    @property
    def slices(self) -> int:
        return sum(scan.slices for scan in self.prepared)

    def to_dict(self) -> dict:
        """The report as JSON-able values. Sources are paths: they may say who a patient is, so keep it private."""
        return {
            "prepared": [
                {
                    "source": str(scan.source),
                    "kind": scan.kind,
                    "patient": scan.patient,
                    "series": scan.series,
                    "slices": scan.slices,
                    "labelled": scan.labelled,
                    "label": None if scan.label is None else str(scan.label),
                    "kept": scan.kept,
                    "notes": list(scan.notes),
                }
                for scan in self.prepared
            ],
            "removed": [asdict(one) for one in self.removed],
            **{
                name: [{"source": str(left.source), "reason": left.reason, "files": left.files} for left in entries]
                for name, entries in (("quarantined", self.quarantined), ("ignored", self.ignored))
            },
        }
