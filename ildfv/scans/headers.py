"""Records of DICOM headers: slices, references of segmentations, and whole files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Words:
    """Position and type of the uncompressed pixels of a single-frame file, so that its header is not parsed again.

    These values are valid only while the size and the modification time of the file do not change.
    """

    offset: int  # bytes
    shape: tuple[int, int]  # rows, columns
    bits: int  # BitsStored
    signed: bool
    padded: bool  # whether padding is declared
    size: int  # of the file, bytes
    mtime_ns: int


@dataclass(frozen=True)
class Frame:
    """One slice of a file: its position (mm, DICOM patient axes) and its rescaling to HU."""

    index: int
    position: tuple[float, float, float]
    orientation: tuple[float, ...]  # (6,): direction cosines of row and column
    spacing: tuple[float, float]  # mm between rows, between columns
    thickness: float | None  # mm; None if SliceThickness is absent or not a positive number
    slope: float
    intercept: float
    acquisition: tuple[str, ...] = ()  # values of `ACQUISITION_TAGS`
    kernel: str = ""  # ConvolutionKernel
    manufacturer: str = ""
    missing: tuple[str, ...] = ()  # tags that the file lacks; their values are those of `ct_header.AXIAL`
    words: Words | None = field(default=None, compare=False)  # None: pydicom must read the pixels


@dataclass(frozen=True)
class SegReference:
    """The reference of a DICOM SEG or RT Structure Set to the segmented scan, and the names of its segments."""

    series: tuple[str, ...]  # SeriesInstanceUIDs; empty if none is referenced
    frame_of_reference: str
    positions: tuple[tuple[float, float, float] | None, ...]  # mm, the ImagePositionPatient of each frame
    shape: tuple[int, int]  # rows, columns
    segments: tuple[str, ...]
    sources: tuple[frozenset[str], ...] = ()  # SOPInstanceUIDs of the slices that each frame was derived from


@dataclass(frozen=True)
class Header:
    """The header of one DICOM file. If the file is not used, `ignored` or `problem` is the reason."""

    path: Path
    kind: str  # "ct", "segmentation", "contours" or "other"
    series: str = ""
    instance: str = ""
    patient: str = ""
    study: str = ""
    rows: int = 0
    columns: int = 0
    frames: tuple[Frame, ...] = ()
    frame_of_reference: str = ""
    segmented: SegReference | None = None  # the scan that a segmentation or structure set refers to
    patient_fault: str = ""  # why the PatientID cannot be used
    unnamed: bool = False  # `instance` is a checksum, because the file has no SOPInstanceUID
    other_image: bool = False  # whether an ignored file is an image of a patient, such as MR, and not a report
    ignored: str | None = None
    problem: str | None = None
