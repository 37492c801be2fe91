"""Records shared by discovery, pairing and preparation: scans, label maps, and files that are not used."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ildfv.scans.dicom import Series
from ildfv.scans.geometry import Geometry


@dataclass(frozen=True)
class VolumeFile:
    """A NIfTI or NRRD file that is read as a scan, with its canonical grid."""

    path: Path
    kind: str  # "nifti" or "nrrd"
    geometry: Geometry


@dataclass(frozen=True)
class Label:
    """A label map: a volume file with its canonical grid or its fault, or a DICOM SEG with the series it references."""

    path: Path
    kind: str  # "nifti", "nrrd" or "dicom"
    geometry: Geometry | None = None
    referenced: tuple[str, ...] = ()  # SeriesInstanceUIDs
    fault: str = ""  # why it cannot be read


@dataclass(frozen=True)
class Scan:
    """A scan that can be read, its patient and its label map. Raw identifiers are stored only as salted hashes."""

    source: Path  # the file, or the folder of the series
    kind: str  # "dicom", "nifti" or "nrrd"
    patient: str
    series: str
    geometry: Geometry  # canonical
    files: tuple[Path, ...]
    dicom: Series | None = None
    label: Label | None = None
    patients_in_study: int = 1
    unreadable: int = 0  # quarantined files in the series' folders, which may be slices at its ends


@dataclass(frozen=True)
class Unused:
    """A file or folder that is not used, with the reason and the number of files."""

    source: Path
    reason: str
    files: int = 1
    series: str = ""  # raw identifier, where known
    quarantined: bool = True  # False: ignored, as it is neither a scan nor a label map


@dataclass
class Discovery:
    """The result of a search: usable scans, input that breaks a rule, and files that are no input."""

    scans: list[Scan] = field(default_factory=list)
    quarantined: list[Unused] = field(default_factory=list)
    ignored: list[Unused] = field(default_factory=list)
