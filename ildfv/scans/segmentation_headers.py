"""The headers of DICOM SEG and RT Structure Set objects: the segmented scan, and the names of the segments."""

from __future__ import annotations

from pathlib import Path

from ildfv.errors import InputError
from ildfv.scans.header_values import numbers, required
from ildfv.scans.headers import Header, SegReference
from ildfv.scans.pixels import MAX_COMPRESSION_RATIO
from ildfv.scans.volume import check_size


def segmentation_header(path: Path, dataset, series: str, pixel_bytes: int) -> Header:
    """The header of a DICOM SEG. Raises `InputError` if the file is invalid. pixel_bytes: bytes after the header."""
    rows, columns = int(required(dataset, "Rows")), int(required(dataset, "Columns"))
    n_frames = int(required(dataset, "NumberOfFrames"))
    check_size((1, rows, columns))
    if rows * columns * n_frames > 8 * MAX_COMPRESSION_RATIO * max(pixel_bytes, 0):  # 8 binary pixels per byte
        raise InputError(
            f"PixelData must contain {n_frames} × {rows} × {columns} pixels, got {pixel_bytes:,} bytes (truncated?)"
        )
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
    return numbers(plane[0], "ImagePositionPatient", 3) if plane else None


def _sources(group) -> frozenset[str]:
    """SOPInstanceUIDs of the slices that a frame of a segmentation was derived from."""
    images = [
        image for item in group.get("DerivationImageSequence") or [] for image in item.get("SourceImageSequence") or []
    ]
    return frozenset(str(image.get("ReferencedSOPInstanceUID") or "") for image in images)


def structure_set(dataset) -> SegReference:
    """The reference of an RT Structure Set to its scan, and the names of its structures."""
    frames = dataset.get("ReferencedFrameOfReferenceSequence") or []
    studies = [study for frame in frames for study in frame.get("RTReferencedStudySequence") or []]
    items = [item for study in studies for item in study.get("RTReferencedSeriesSequence") or []]
    series = dict.fromkeys(str(item.SeriesInstanceUID) for item in items if item.get("SeriesInstanceUID"))
    places = [str(frame.FrameOfReferenceUID) for frame in frames if frame.get("FrameOfReferenceUID")]
    where = str(dataset.get("FrameOfReferenceUID") or "") or (places[0] if len(set(places)) == 1 else "")
    names = tuple(str(item.get("ROIName") or "") for item in dataset.get("StructureSetROISequence") or [])
    return SegReference(tuple(series), where, (), (0, 0), names)
