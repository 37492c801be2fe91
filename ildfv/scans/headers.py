"""DICOM headers: the kind of a file, and whether it can be a slice of a CT scan. No pixel is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ildfv.errors import InputError
from ildfv.scans.bits import check_declared
from ildfv.scans.derived import TEXT_TAGS, contradiction, no_slice
from ildfv.scans.dicomfile import START, is_dicom, open_dicom, read_dicom, size_of
from ildfv.scans.identifiers import SOURCE_TAGS, acquisition_of, instance_of, patient_id
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
CONTOURS = "1.2.840.10008.5.1.4.1.1.481.3"  # RT Structure Set
DICOM_ROOT = "1.2.840.10008."  # of all UIDs that DICOM defines
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
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "ReferencedSeriesSequence",
    "SegmentSequence",
    "StructureSetROISequence",
    "ReferencedFrameOfReferenceSequence",
    *TEXT_TAGS,
    *SOURCE_TAGS,
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
    acquisition: tuple[str, ...] = ()  # values of `ACQUISITION_TAGS`


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
    """The header of one DICOM file. `ignored` or `problem` is the reason why it cannot be used."""

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
    segmented: SegReference | None = None  # of a segmentation
    patient_fault: str = ""  # why the PatientID cannot be used
    unnamed: bool = False  # `instance` is a checksum, because the file has no SOPInstanceUID
    ignored: str | None = None
    problem: str | None = None


def read_header(path: Path) -> Header:
    """The header of a DICOM file. Raises `InputError` if not even the series of the file can be read."""
    with open_dicom(path) as file:
        start = file.read(START)
        if not is_dicom(start):
            raise InputError("must be a DICOM file ('DICM' at byte 128), got another file")
        if DEFLATED in start:  # pydicom inflates the whole file without a size limit
            raise InputError("transfer syntax must not be Deflated: convert the file to Explicit VR Little Endian")
        file.seek(0)
        try:
            dataset = read_dicom(file, stop_before_pixels=True, specific_tags=TAGS)
            left = size_of(file) - file.tell()  # bytes from the tag of the pixel data to the end
            return _classified(path, dataset, left)
        except InputError:
            raise
        except Exception as error:  # a corrupt file can raise anything in the parser
            raise InputError(f"must be readable DICOM, got {format_error(error)}") from error


def _classified(path: Path, dataset, left: int) -> Header:
    """The file by its SOP class. A fault becomes `problem` if the series is known, otherwise it is raised."""
    kind, series = str(dataset.get("SOPClassUID", "")), str(dataset.get("SeriesInstanceUID", ""))
    kind = kind or str(dataset.file_meta.get("MediaStorageSOPClassUID", ""))  # a DICOMDIR has only this one
    if not kind:
        raise InputError("must have a SOPClassUID, got none (truncated file?)")
    if kind == CONTOURS:
        try:
            return Header(path, "contours", series, segmented=_structure_set(dataset))
        except Exception as error:  # a value that its VR does not allow
            return Header(path, "contours", series, problem=f"RT Structure Set {format_error(error)}")
    if kind not in CT and kind not in SEGMENTATION:
        return Header(path, "other", ignored=f"not CT: {_class_name(kind)}")
    if kind in CT and (reason := no_slice(dataset)):
        return Header(path, "other", series, ignored=f"not a slice of a scan: {reason}")
    if not series and kind in CT:
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
    if mark := contradiction(dataset):
        raise InputError(f"an image with ImageType ORIGINAL must be described as one, got {mark}")
    try:
        patient, fault = patient_id(dataset), ""
    except InputError as error:
        patient, fault = "", str(error)
    rows, columns = int(_value(dataset, "Rows")), int(_value(dataset, "Columns"))
    n_frames = int(dataset.get("NumberOfFrames") or 1)
    for name, allowed in (("SamplesPerPixel", 1), ("PhotometricInterpretation", "MONOCHROME2"), ("BitsAllocated", 16)):
        if (found := _value(dataset, name)) != allowed:
            raise InputError(f"{name} must be {allowed}, got {found}")
    check_declared(dataset)
    _check_pixels(dataset, rows, columns, n_frames, left)
    instance, unnamed = instance_of(dataset, path)
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence")
    if per_frame is None:
        if n_frames != 1:
            raise InputError(f"NumberOfFrames must be 1 without per-frame functional groups, got {n_frames}")
        frames = [_frame(0, acquisition_of(dataset), *[dataset] * 5)]
    else:
        if len(per_frame) != n_frames:
            raise InputError(f"functional groups must be one per frame ({n_frames}), got {len(per_frame)}")
        shared = (dataset.get("SharedFunctionalGroupsSequence") or [{}])[0]
        frames = [_frame_of(i, dataset, group, shared) for i, group in enumerate(per_frame)]
    study = str(dataset.get("StudyInstanceUID") or "")
    where = str(dataset.get("FrameOfReferenceUID") or "")
    return Header(
        path,
        "ct",
        series,
        instance,
        patient,
        study,
        rows,
        columns,
        tuple(frames),
        where,
        patient_fault=fault,
        unnamed=unnamed,
    )


def _frame_of(index: int, dataset, group, shared) -> Frame:
    """One frame of a multi-frame file, from its per-frame and the shared functional groups."""
    try:
        kind = (group.get("CTImageFrameTypeSequence") or shared.get("CTImageFrameTypeSequence") or [{}])[0]
        if reason := no_slice(kind):
            raise InputError(f"a frame must be a slice of a scan, got {reason}")
        content = (group.get("FrameContentSequence") or [{}])[0]
        return _frame(index, acquisition_of(dataset, content), *[_group(group, shared, name) for name in GROUPS])
    except InputError as error:
        raise InputError(f"frame {index + 1}: {error}") from error


def _frame(index: int, acquisition: tuple[str, ...], plane, orientation, measures, thickness, rescale) -> Frame:
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
        acquisition,
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
    referenced = tuple(str(item.SeriesInstanceUID) for item in items if item.get("SeriesInstanceUID"))
    frame_of_reference = str(dataset.get("FrameOfReferenceUID") or "")
    if not referenced and not frame_of_reference:
        raise InputError("ReferencedSeriesSequence or FrameOfReferenceUID must name the segmented scan, got neither")
    names = tuple(str(item.get("SegmentLabel") or "") for item in dataset.get("SegmentSequence") or [])
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or []
    positions, sources = tuple(map(_position, groups)), tuple(map(_sources, groups))
    segmented = SegReference(referenced, frame_of_reference, positions, (rows, columns), names, sources)
    instance = str(dataset.get("SOPInstanceUID") or "")
    return Header(path, "segmentation", series, instance, rows=rows, columns=columns, segmented=segmented)


def _position(group) -> tuple | None:
    """The position of a frame of a segmentation, mm."""
    plane = group.get("PlanePositionSequence")
    return _numbers(plane[0], "ImagePositionPatient", 3) if plane else None


def _sources(group) -> frozenset[str]:
    """SOPInstanceUIDs of the slices that a frame of a segmentation was derived from."""
    images = [
        image for item in group.get("DerivationImageSequence") or [] for image in item.get("SourceImageSequence") or []
    ]
    return frozenset(str(image.get("ReferencedSOPInstanceUID") or "") for image in images)


def _structure_set(dataset) -> SegReference:
    """The reference of an RT Structure Set to its scan, and the names of its structures."""
    frames = dataset.get("ReferencedFrameOfReferenceSequence") or []
    studies = [study for frame in frames for study in frame.get("RTReferencedStudySequence") or []]
    items = [item for study in studies for item in study.get("RTReferencedSeriesSequence") or []]
    series = dict.fromkeys(str(item.SeriesInstanceUID) for item in items if item.get("SeriesInstanceUID"))
    places = [str(frame.FrameOfReferenceUID) for frame in frames if frame.get("FrameOfReferenceUID")]
    where = str(dataset.get("FrameOfReferenceUID") or "") or (places[0] if len(set(places)) == 1 else "")
    names = tuple(str(item.get("ROIName") or "") for item in dataset.get("StructureSetROISequence") or [])
    return SegReference(tuple(series), where, (), (0, 0), names)


def _value(dataset, name: str):
    value = dataset.get(name)
    if value is None or value == "":
        raise InputError(f"{name} must be present, got none")
    return value


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
