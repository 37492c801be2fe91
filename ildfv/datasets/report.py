"""The report on a preparation: the outcome for every input file."""

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
    kept: bool  # prepared by an earlier run
    notes: tuple[str, ...] = ()


@dataclass
class PrepareReport:
    """The outcome for every input file: in a prepared scan or its label map, quarantined, or ignored."""

    prepared: list[Prepared] = field(default_factory=list)
    quarantined: list[Unused] = field(default_factory=list)
    ignored: list[Unused] = field(default_factory=list)

    @property
    def slices(self) -> int:
        return sum(scan.slices for scan in self.prepared)

    def to_dict(self) -> dict:
        """The report as JSON values. It is private: paths may identify patients."""
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
            "quarantined": [_unused_dict(unused) for unused in self.quarantined],
            "ignored": [_unused_dict(unused) for unused in self.ignored],
        }


def _unused_dict(unused: Unused) -> dict:
    return {"source": str(unused.source), "reason": unused.reason, "files": unused.files}
