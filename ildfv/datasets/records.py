"""What discovery finds: scans, label maps, and files that are not used."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ildfv.scans.dicom import Series
from ildfv.scans.geometry import Geometry


@dataclass(frozen=True)
class Label:
    path: Path
    kind: str
    geometry: Geometry | None = None
    referenced: tuple[str, ...] = ()
    fault: str = ""


@dataclass(frozen=True)
class Scan:
    source: Path
    kind: str
    patient: str
    series: str
    geometry: Geometry
    files: tuple[Path, ...]
    dicom: Series | None = None


@dataclass(frozen=True)
class Left:
    source: Path
    reason: str
    files: int = 1
    series: str = ""
    meant: bool = True
