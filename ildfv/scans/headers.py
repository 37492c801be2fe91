"""DICOM headers: the kind of a file, and whether it can be a slice of a CT scan. No pixel is decoded."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ildfv.errors import InputError
from ildfv.scans.libraries import format_error
from ildfv.scans.pixels import UNCOMPRESSED
from ildfv.scans.volume import check_size

CT = {
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.2.1": "Enhanced CT",
    "1.2.840.10008.5.1.4.1.1.2.2": "Legacy Converted Enhanced CT",
}
SEGMENTATION = {
    "1.2.840.10008.5.1.4.1.1.66.4": "Segmentation",
    "1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation",
}
# ImageType, FrameType or VolumeBasedCalculationTechnique of CT images that are not slices or not in Hounsfield units.
PROJECTIONS = (
    "MIP",
    "MINIP",
    "MAX_IP",
    "MIN_IP",
    "MAXIMUM",
    "MINIMUM",
    "VOLUME_RENDER",
    "SURFACE_RENDER",
    "CURVED_MPR",
)
DICOM_ROOT = "1.2.840.10008."  # of all UIDs that DICOM defines
NO_SLICE = (*PROJECTIONS, "LOCALIZER", "SCREEN SAVE", "DOSE_INFO", "SUBTRACTION", "DIVISION", "STD_DEVIATION")
HU_TYPES = ("", "HU", "US")  # RescaleType: Hounsfield units, or unspecified (common for CT)
GROUPS = (  # functional groups in the order of the arguments of `_frame`
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelMeasuresSequence",
    "PixelMeasuresSequence",
    "PixelValueTransformationSequence",
)
DEFLATED = b"1.2.840.10008.1.2.1.99"
MAX_COMPRESSION_RATIO = 10_000  # decoded to encoded bytes; a constant slice in JPEG 2000 reaches 3000

TAGS = [
    "SOPClassUID",
    "SOPInstanceUID",
    "Modality",
    "ImageType",
    "VolumeBasedCalculationTechnique",
    "PatientID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "PixelRepresentation",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "ReferencedSeriesSequence",
]


@dataclass(frozen=True)
class Frame:
    """One slice of a file: its position (mm, DICOM patient axes) and its rescaling to HU."""

    index: int
    position: tuple[float, float, float]
    orientation: tuple[float, ...]  # (6,): direction cosines of row and column
    spacing: tuple[float, float]  # mm between rows, between columns
    thickness: float | None
    slope: float
    intercept: float


@dataclass(frozen=True)
class Header:
    """The header of one DICOM file. `ignored` or `problem` is the reason why it cannot be used."""

    path: Path
    kind: str  # "ct", "segmentation" or "other"
    series: str = ""
    instance: str = ""
    patient: str = ""
    study: str = ""
    rows: int = 0
    columns: int = 0
    frames: tuple[Frame, ...] = ()
    referenced: tuple[str, ...] = ()  # series that are segmented
    ignored: str | None = None
    problem: str | None = None


def read_header(path: Path) -> Header:
    """The header of a DICOM file. Raises `InputError` if not even the series of the file can be read."""
    from pydicom import dcmread

    with path.open("rb") as file:
        start = file.read(1024)
        if start[128:132] != b"DICM":
            raise InputError("must be a DICOM file ('DICM' at byte 128), got something else")
        if DEFLATED in start:  # pydicom inflates the whole file without a size limit
            raise InputError("transfer syntax must not be Deflated: convert the file to Explicit VR Little Endian")
        file.seek(0)
        try:
            dataset = dcmread(file, stop_before_pixels=True, specific_tags=TAGS)
            left = os.fstat(file.fileno()).st_size - file.tell()  # bytes from the tag of the pixel data to the end
            return _classified(path, dataset, left)
        except InputError:
            raise
        except Exception as error:  # a corrupt file can raise anything in the parser
            raise InputError(f"must be readable DICOM, got {format_error(error)}") from error


def _classified(path: Path, dataset, left: int) -> Header:
    """The file by its SOP class. A fault becomes `problem` if the series is known, otherwise it is raised."""
    kind, series = str(dataset.get("SOPClassUID", "")), str(dataset.get("SeriesInstanceUID", ""))
    kind = kind or str(dataset.file_meta.get("MediaStorageSOPClassUID", ""))  # a DICOMDIR has its SOP class only there
    if not kind:
        raise InputError("must have a SOPClassUID, got none (truncated file?)")
    if kind not in CT and kind not in SEGMENTATION:
        return Header(path, "other", ignored=f"not CT: {_class_name(kind)}")
    for name in ("ImageType", "VolumeBasedCalculationTechnique"):
        if shown := _no_slice(dataset, name):
            return Header(path, "other", series, ignored=f"not a slice of a scan: {name} {shown}")
    if not series:
        raise InputError("must have a SeriesInstanceUID, got none (truncated file?)")
    modality = str(dataset.get("Modality") or "")
    if kind in CT and modality not in ("", "CT"):
        return Header(path, "other", series, ignored=f"not CT: Modality {modality}")
    what, read = ("segmentation", _segmentation) if kind in SEGMENTATION else ("ct", _ct)
    try:
        return read(path, dataset, series, left)
    except InputError as error:
        return Header(path, what, series, problem=str(error))
    except Exception as error:  # a value that its VR does not allow
        return Header(path, what, series, problem=f"header must be valid DICOM, got {format_error(error)}")


def _class_name(kind: str) -> str:
    """The name of a SOP class that is neither CT nor a segmentation. Raises `InputError` for an invalid UID."""
    from pydicom.uid import UID

    uid = UID(kind)
    if uid.name != kind:
        return uid.name
    if not uid.is_valid or kind.startswith(DICOM_ROOT) or DICOM_ROOT.startswith(kind):  # possibly truncated
        raise InputError(f"SOPClassUID must be one that DICOM defines or a private one, got {kind}")
    return f"private SOP class {kind}"


def _ct(path: Path, dataset, series: str, left: int) -> Header:
    if not dataset.get("Modality"):
        raise InputError("Modality must be CT, got none")
    patient = str(dataset.get("PatientID") or "").strip()
    if not patient:
        raise InputError("PatientID must not be empty: folds are split by patient")
    rows, columns = int(_value(dataset, "Rows")), int(_value(dataset, "Columns"))
    n_frames = int(dataset.get("NumberOfFrames") or 1)
    for name, allowed in (("SamplesPerPixel", 1), ("PhotometricInterpretation", "MONOCHROME2"), ("BitsAllocated", 16)):
        if (found := _value(dataset, name)) != allowed:
            raise InputError(f"{name} must be {allowed}, got {found}")
    _check_pixels(dataset, rows, columns, n_frames, left)
    instance = str(_value(dataset, "SOPInstanceUID"))
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence")
    if per_frame is None:
        if n_frames != 1:
            raise InputError(f"NumberOfFrames must be 1 without per-frame functional groups, got {n_frames}")
        frames = [_frame(0, *[dataset] * 5)]
    else:
        if len(per_frame) != n_frames:
            raise InputError(f"functional groups must be one per frame ({n_frames}), got {len(per_frame)}")
        shared = (dataset.get("SharedFunctionalGroupsSequence") or [{}])[0]
        frames = [_frame_of(i, group, shared) for i, group in enumerate(per_frame)]
    study = str(dataset.get("StudyInstanceUID") or "")
    return Header(path, "ct", series, instance, patient, study, rows, columns, tuple(frames))


def _frame_of(index: int, group, shared) -> Frame:
    """One frame of a multi-frame file, from its own and the shared functional groups."""
    try:
        kind = (group.get("CTImageFrameTypeSequence") or shared.get("CTImageFrameTypeSequence") or [{}])[0]
        for name in ("FrameType", "VolumeBasedCalculationTechnique"):
            if shown := _no_slice(kind, name):
                raise InputError(f"{name} must be that of a CT slice, got {shown}")
        return _frame(index, *[_group(group, shared, name) for name in GROUPS])
    except InputError as error:
        raise InputError(f"frame {index + 1}: {error}") from error


def _frame(index: int, plane, orientation, measures, thickness, rescale) -> Frame:
    """One slice, from the datasets with each group of values (all the same dataset in a single-frame file)."""
    for name in ("RescaleSlope", "RescaleIntercept"):
        if rescale.get(name) is None:  # pydicom would silently return stored values
            raise InputError(f"{name} must be present: without it stored values are not Hounsfield units")
    slope, intercept = float(rescale["RescaleSlope"].value), float(rescale["RescaleIntercept"].value)
    if not slope > 0 or slope == float("inf") or not abs(intercept) < float("inf"):
        raise InputError(f"RescaleSlope must be above 0 and finite, got slope {slope:g}, intercept {intercept:g}")
    if (kind := str(rescale.get("RescaleType") or "").strip().upper()) not in HU_TYPES:
        raise InputError(f"RescaleType must be HU, US or absent, got {kind}")
    thick = thickness.get("SliceThickness")
    return Frame(
        index,
        _numbers(plane, "ImagePositionPatient", 3),
        _numbers(orientation, "ImageOrientationPatient", 6),
        _numbers(measures, "PixelSpacing", 2),
        None if thick is None else float(thick),
        slope,
        intercept,
    )


def _check_pixels(dataset, rows: int, columns: int, n_frames: int, left: int) -> None:
    """Raises `InputError` if the declared size is too large or the file too small for it; nothing is decoded."""
    check_size((n_frames, rows, columns))
    if left <= 0:
        raise InputError("PixelData must be present, got a header without pixel data")
    declared = 2 * rows * columns * n_frames
    syntax = str(getattr(dataset.file_meta, "TransferSyntaxUID", ""))
    if not syntax:
        raise InputError("TransferSyntaxUID must be present, got none")
    limit = left if syntax in UNCOMPRESSED else MAX_COMPRESSION_RATIO * left
    if declared > limit:
        raise InputError(
            f"PixelData must contain {n_frames} × {rows} × {columns} pixels ({declared:,} bytes), got {left:,} bytes "
            "up to the end of the file (truncated?)"
        )


def _segmentation(path: Path, dataset, series: str, left: int) -> Header:
    rows, columns = int(_value(dataset, "Rows")), int(_value(dataset, "Columns"))
    n_frames = int(_value(dataset, "NumberOfFrames"))
    check_size((1, rows, columns))
    if rows * columns * n_frames > 8 * MAX_COMPRESSION_RATIO * max(left, 0):  # 8 binary pixels per byte
        raise InputError(f"PixelData must contain {n_frames} × {rows} × {columns} pixels, got {left:,} bytes")
    items = dataset.get("ReferencedSeriesSequence") or []
    referenced = tuple(str(_value(item, "SeriesInstanceUID")) for item in items)
    if not referenced:
        raise InputError("ReferencedSeriesSequence must contain the segmented series, got none")
    instance = str(_value(dataset, "SOPInstanceUID"))
    return Header(path, "segmentation", series, instance, rows=rows, columns=columns, referenced=referenced)


def _value(dataset, name: str):
    value = dataset.get(name)
    if value is None or value == "":
        raise InputError(f"{name} must be present, got none")
    return value


def _no_slice(dataset, name: str) -> str:
    """The first value that excludes a slice of a scan, or ""."""
    return next((value for value in map(str.upper, map(str, _several(dataset, name))) if value in NO_SLICE), "")


def _several(dataset, name: str) -> list:
    value = dataset.get(name)
    return [] if value is None else [value] if isinstance(value, str) else list(value)


def _numbers(dataset, name: str, n: int) -> tuple:
    values = tuple(float(value) for value in _value(dataset, name))
    if len(values) != n or not all(abs(value) < float("inf") for value in values):
        raise InputError(f"{name} must be {n} finite numbers, got {values}")
    return values


def _group(group, shared, name: str):
    """The functional group of that name, of the frame or shared."""
    sequence = group.get(name) or shared.get(name)
    if not sequence:
        raise InputError(f"{name} must be present per frame or shared, got none")
    return sequence[0]
