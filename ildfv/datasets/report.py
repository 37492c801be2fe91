"""The report on a preparation: the outcome for every input file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ildfv.datasets.records import Unused


@dataclass(frozen=True)
class Prepared:
    """A scan whose slices are in the store."""

    source: Path
    kind: str  # `Scan.kind`
    patient: str  # salted hash
    series: str  # salted hash, which is the name of the part
    slices: int
    labelled_slices: int
    labels: tuple[Path, ...]  # its label maps
    kept: bool  # prepared by an earlier run
    notes: tuple[str, ...] = ()
    resampled: str = ""  # description of the resampling, if the scan was resampled

    @property
    def labelled(self) -> bool:
        return self.labelled_slices > 0


@dataclass(frozen=True)
class Removed:
    """A scan that an earlier run prepared and whose slices this run removed from the store."""

    series: str  # salted hash, which was the name of the part
    slices: int
    labelled: bool
    reason: str


@dataclass
class PrepareReport:
    """The outcome for every input file: used for a prepared scan, quarantined, or ignored.

    removed: the scans prepared by earlier runs whose slices this run removed from the store.
    """

    prepared: list[Prepared] = field(default_factory=list)
    quarantined: list[Unused] = field(default_factory=list)
    ignored: list[Unused] = field(default_factory=list)
    removed: list[Removed] = field(default_factory=list)

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
                    "labelled_slices": scan.labelled_slices,
                    "label": joined(scan.labels),
                    "kept": scan.kept,
                    "resampled": scan.resampled or None,
                    "notes": list(scan.notes),
                }
                for scan in self.prepared
            ],
            "removed": [asdict(one) for one in self.removed],
            "quarantined": [unused_dict(unused) for unused in self.quarantined],
            "ignored": [unused_dict(unused) for unused in self.ignored],
        }


def joined(labels: Sequence[Path]) -> str | None:
    """The paths of label maps, separated by "; " as in a table of scans; None if there are none."""
    return "; ".join(map(str, labels)) or None


def unused_dict(unused: Unused) -> dict:
    """The entry as JSON values."""
    return {"source": str(unused.source), "reason": unused.reason, "files": unused.files}
