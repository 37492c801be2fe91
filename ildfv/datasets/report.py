"""What became of every file that was handed in."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ildfv.datasets.records import Unused


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


@dataclass
class PrepareReport:
    """What became of every file handed in: in a prepared scan (or its label map), quarantined, or ignored."""

    prepared: list[Prepared] = field(default_factory=list)
    quarantined: list[Unused] = field(default_factory=list)
    ignored: list[Unused] = field(default_factory=list)

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
            **{
                name: [{"source": str(left.source), "reason": left.reason, "files": left.files} for left in entries]
                for name, entries in (("quarantined", self.quarantined), ("ignored", self.ignored))
            },
        }
