"""Records shared by discovery, pairing and preparation: scans, label maps, and files that are not used.

Reasons may quote file names and tags, which may contain line breaks and escape sequences; the records store them
escaped, so that every reason can be printed on one line.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ildfv.errors import printable
from ildfv.scans.dicom import Series
from ildfv.scans.geometry import Geometry
from ildfv.scans.grey import Grey
from ildfv.scans.headers import SegReference


@dataclass(frozen=True)
class VolumeFile:
    """A volume file that is read as a scan, with its canonical grid."""

    path: Path
    kind: str  # a format of `scans.volumefiles`
    geometry: Geometry


@dataclass(frozen=True)
class Label:
    """A label map: a volume file, or a DICOM object that references its scan.

    A volume file has its canonical grid, or the reason why it cannot be read.
    """

    path: Path
    kind: str  # a format of `scans.volumefiles`, "dicom" (SEG), "contours" (RT Structure Set) or "regions" (HUG-ILD)
    geometry: Geometry | None = None
    segments: tuple[str, ...] = ()  # names in a DICOM object, a 3D Slicer segmentation or a text file of regions
    reference: SegReference | None = None  # the scan that a DICOM object segments
    frames: tuple[int, ...] | None = None  # indices of the frames of a DICOM SEG that are on this scan; None: all
    names: tuple[tuple[int, str], ...] = ()  # (value, name) from a label description of ITK-SNAP
    description: Path | None = None  # file of the label description
    structure: str = ""  # the structure named in the file name; all nonzero voxels belong to it
    fault: str = ""  # why it cannot be read
    folder: str = ""  # the folder on its path that names the structure, as in GGO/anna.nii.gz

    def __post_init__(self):
        object.__setattr__(self, "fault", printable(self.fault))


@dataclass(frozen=True)
class LabelNames:
    """A label description of ITK-SNAP: the names of the values of a label map."""

    path: Path
    names: tuple[tuple[int, str], ...] = ()
    fault: str = ""  # why it cannot be read


@dataclass(frozen=True)
class Scan:
    """A scan that can be read, its patient and its label maps. The slice store has only hashes of the identifiers."""

    source: Path  # the file, or the folder of the series
    kind: str  # "dicom", "image" or a format of `scans.volumefiles`
    patient: str
    series: str
    geometry: Geometry  # canonical
    files: tuple[Path, ...]
    dicom: Series | None = None
    labels: tuple[Label, ...] = ()
    patients_in_study: int = 1
    unreadable: int = 0  # number of quarantined files in the folders of the series; they may be slices at its ends
    grey: Grey | None = None  # HU of the grey levels of an image
    mask: Path | None = None  # the user's lung mask
    no_mask: str = ""  # why it has no lung mask, although masks are given


@dataclass(frozen=True)
class Lost:
    """A scan that was found but cannot be used."""

    source: Path
    reason: str
    is_folder: bool  # whether `source` is the folder of a DICOM series
    series: str = ""  # SeriesInstanceUID, if known

    def __post_init__(self):
        object.__setattr__(self, "reason", printable(self.reason))


@dataclass(frozen=True)
class Unused:
    """A file or folder that is not used, with the reason and the number of files."""

    source: Path
    reason: str
    files: int = 1
    series: str = ""  # raw identifier, if known
    patient: str = ""  # raw PatientID of a DICOM series, if known
    quarantined: bool = True  # False: ignored, because it is no input, or no input with these settings
    other_image: bool = False  # whether it is a DICOM series of images that are not slices of a CT scan

    def __post_init__(self):
        object.__setattr__(self, "reason", printable(self.reason))


@dataclass
class Discovery:
    """The result of a search: usable scans, input that fails a check, and files that are ignored."""

    scans: list[Scan] = field(default_factory=list)
    quarantined: list[Unused] = field(default_factory=list)
    ignored: list[Unused] = field(default_factory=list)
