"""Reading of DICOM headers: the kind of a file, and whether it can be a slice of a CT scan."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import BinaryIO

from ildfv.errors import InputError
from ildfv.scans.ct_header import ct_header
from ildfv.scans.derived import TEXT_TAGS, no_slice
from ildfv.scans.dicomfile import START, is_dicom, open_dicom, read_dicom, size_of
from ildfv.scans.headers import Header, Words
from ildfv.scans.identifiers import SOURCE_TAGS, patient_id
from ildfv.scans.libraries import format_error
from ildfv.scans.plain_header import BUFFER, PlainHeader, plain_header
from ildfv.scans.segmentation_headers import segmentation_header, structure_set

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
# Images that are drawn or computed instead of acquired. Secondary captures are often pages of a report.
NO_ACQUISITION = {
    "1.2.840.10008.5.1.4.1.1.7": "Secondary Capture",
    "1.2.840.10008.5.1.4.1.1.7.1": "Multi-frame Single Bit Secondary Capture",
    "1.2.840.10008.5.1.4.1.1.7.2": "Multi-frame Grayscale Byte Secondary Capture",
    "1.2.840.10008.5.1.4.1.1.7.3": "Multi-frame Grayscale Word Secondary Capture",
    "1.2.840.10008.5.1.4.1.1.7.4": "Multi-frame True Color Secondary Capture",
    "1.2.840.10008.5.1.4.1.1.30": "Parametric Map",
    "1.2.840.10008.5.1.4.1.1.481.2": "RT Dose",
}
NOT_CT = "not CT: "  # start of the reason why another kind of image is ignored
DICOM_ROOT = "1.2.840.10008."  # prefix of all UIDs that DICOM defines
DEFLATED = b"1.2.840.10008.1.2.1.99"  # transfer syntax

TAGS = [
    "SOPClassUID",
    "SOPInstanceUID",
    "Modality",
    "Manufacturer",
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
PADDING_TAGS = ("PixelPaddingValue", "PixelPaddingRangeLimit")
FLOAT_PIXELS = (0x7FE00008, 0x7FE00009)
MULTI_FRAME_TAGS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")


def read_header(path: Path) -> Header:
    """The header of a DICOM file. No pixel is decoded.

    Raises `InputError` if the file is not DICOM or its series is unknown. Other faults are in `problem` of the header.
    """
    with open_dicom(path) as file:
        data = file.read(BUFFER)
        start = data[:START]
        if not is_dicom(start):
            raise InputError("must be a DICOM file ('DICM' at byte 128), got another kind of file")
        if DEFLATED in start:  # pydicom inflates the whole file without a size limit
            raise InputError("transfer syntax must not be Deflated: convert the file to Explicit VR Little Endian")
        try:
            if plain := plain_header(data, *_plain_tags()):
                return _plain_slice(path, file, plain)
            file.seek(0)
            dataset = read_dicom(file, stop_before_pixels=True, specific_tags=TAGS)
            pixel_bytes = size_of(file) - file.tell()  # from the tag of the pixel data to the end of the file
            return _classified(path, dataset, pixel_bytes)
        except InputError:
            raise
        except Exception as error:  # the parser can raise any exception for a corrupt file
            raise InputError(f"must be readable DICOM, got {format_error(error)}") from error


@cache
def _plain_tags() -> tuple[dict[int, str], frozenset[int]]:
    """Keywords of the tags that are read from a plain header, by tag; and tags that need pydicom."""
    from pydicom.datadict import dictionary_VR, tag_for_keyword

    tags = {name: tag_for_keyword(name) for name in (*TAGS, *PADDING_TAGS)}
    wanted = {tag: name for name, tag in tags.items() if tag is not None and dictionary_VR(tag) != "SQ"}
    return wanted, frozenset((*(tags[name] or 0 for name in MULTI_FRAME_TAGS), *FLOAT_PIXELS))


def _plain_slice(path: Path, file: BinaryIO, plain: PlainHeader) -> Header:
    """The header of a file with a plain header, and where its pixels are, if they can be read without pydicom."""
    size = size_of(file)
    tag_at = plain.pixels.start - (12 if plain.pixels.vr else 8)
    header = _classified(path, plain, size - tag_at)
    offset, length = plain.pixels.start, plain.pixels.length
    usual = plain.pixels.vr in (b"OW", b"OB", b"") and not plain.overlays and not isinstance(file, io.BytesIO)
    if not header.frames or not usual or length != 2 * header.rows * header.columns or offset + length != size:
        return header
    words = Words(
        offset,
        (header.rows, header.columns),
        bits=int(plain.get("BitsStored")),
        signed=bool(plain.get("PixelRepresentation")),
        padded=any(plain.raw(name) is not None for name in PADDING_TAGS),
        size=size,
        mtime_ns=os.fstat(file.fileno()).st_mtime_ns,
    )
    return replace(header, frames=(replace(header.frames[0], words=words),))


def _classified(path: Path, dataset, pixel_bytes: int) -> Header:
    """The header according to the SOP class. A fault becomes `problem` if the series is known, else it is raised."""
    kind, series = str(dataset.get("SOPClassUID", "")), str(dataset.get("SeriesInstanceUID", ""))
    kind = kind or str(dataset.file_meta.get("MediaStorageSOPClassUID", ""))  # the only SOP class of a DICOMDIR
    if not kind:
        raise InputError("must have a SOPClassUID, got none (truncated file?)")
    if kind == CONTOURS:
        try:
            return Header(path, "contours", series, segmented=structure_set(dataset))
        except Exception as error:  # a value that its VR does not allow
            problem = f"RT Structure Set must be valid DICOM, got {format_error(error)}"
            return Header(path, "contours", series, problem=problem)
    if kind not in CT and kind not in SEGMENTATION:
        other_image = pixel_bytes > 0 and dataset.get("Rows") is not None and kind not in NO_ACQUISITION
        modality = f", Modality {dataset.get('Modality')}" if other_image and dataset.get("Modality") else ""
        return _ignored(path, dataset, f"{NOT_CT}{_class_name(kind)}{modality}", other_image=other_image)
    if kind in CT and (reason := no_slice(dataset)):
        return _ignored(path, dataset, f"not a slice of a scan: {reason}", other_image=True)
    if not series and kind in CT:
        raise InputError("must have a SeriesInstanceUID, got none (truncated file?)")
    modality = str(dataset.get("Modality") or "")
    if kind in CT and modality not in ("", "CT"):
        return _ignored(path, dataset, f"{NOT_CT}Modality {modality}", other_image=True)
    what, read = ("segmentation", segmentation_header) if kind in SEGMENTATION else ("ct", ct_header)
    try:
        return read(path, dataset, series, pixel_bytes)
    except InputError as error:
        return Header(path, what, series, problem=str(error))
    except Exception as error:  # a value that its VR does not allow
        return Header(path, what, series, problem=f"header must be valid DICOM, got {format_error(error)}")


def _ignored(path: Path, dataset, reason: str, *, other_image: bool) -> Header:
    """The header of a file that is not a slice of a CT scan. other_image: see `Header`."""
    try:
        patient = patient_id(dataset)
    except InputError:  # only whether two files have the same patient is needed
        patient = ""
    series, study = (str(dataset.get(name) or "") for name in ("SeriesInstanceUID", "StudyInstanceUID"))
    return Header(path, "other", series, patient=patient, study=study, other_image=other_image, ignored=reason)


def _class_name(kind: str) -> str:
    """The name of a SOP class that is neither CT nor a segmentation. Raises `InputError` for an invalid UID."""
    from pydicom.uid import UID

    uid = UID(kind)
    if uid.name != kind:
        return uid.name
    if not uid.is_valid or kind.startswith(DICOM_ROOT) or DICOM_ROOT.startswith(kind):  # possibly truncated
        raise InputError(f"SOPClassUID must be one that DICOM defines or a private one, got {kind}")
    return f"private SOP class {kind}"
