"""Values of a DICOM header that identify the patient, the file and the acquisition of a slice."""

from __future__ import annotations

import unicodedata
from pathlib import Path

from ildfv.errors import InputError
from ildfv.scans.plain_header import PlainHeader
from ildfv.store.atomic import sha256

ACQUISITION_TAGS = (  # within an acquisition, their values are constant or increase from slice to slice
    "StudyInstanceUID",
    "SeriesNumber",
    "SeriesDescription",
    "ProtocolName",
    "PatientPosition",
    "FrameOfReferenceUID",
    "AcquisitionNumber",
    "TemporalPositionIndex",
    "TemporalPositionIdentifier",
    "NominalPercentageOfCardiacPhase",
    "NominalCardiacTriggerDelayTime",
    "NominalPercentageOfRespiratoryPhase",
    "TriggerTime",
    "ContrastBolusAgent",
    "ScanOptions",
    "GantryDetectorTilt",
    "ConvolutionKernel",
    "FilterType",
    "ReconstructionDiameter",
    "KVP",
    "SliceThickness",
    "ImageType",
    "IrradiationEventUID",
    "AcquisitionUID",
    "AcquisitionTime",
    "InstanceNumber",
)  # without ContentTime, the time of reconstruction, because slices may be reconstructed in any order
EVENT_TAGS = ("IrradiationEventUID", "AcquisitionUID")  # if they differ in each slice, they only number the slices
# The values of these tags may identify a patient.
PRIVATE_TAGS = ("StudyInstanceUID", "SeriesDescription", "ProtocolName", *EVENT_TAGS)
SOURCE_TAGS = (*ACQUISITION_TAGS, "AcquisitionDate", "AcquisitionDateTime", "SpecificCharacterSet")
IN_FRAMES = {  # names of attributes in the frames of multi-frame files, where they differ
    "AcquisitionNumber": "FrameAcquisitionNumber",
    "AcquisitionTime": "FrameAcquisitionDateTime",
}
ASCII = ("", "ISO_IR 6", "ISO 2022 IR 6")
OTHER_SOURCE = "pass --patient-from folder or --patient-from study to use another identity"


def patient_id(dataset) -> str:
    """The PatientID as text. An id has the same text in all character sets.

    Raises `InputError` if it is absent or empty, or if its bytes are not text in the declared character set. Decoding
    with replacement characters, as libraries do, could merge two patients or split one patient.
    """
    raw = _raw(dataset, "PatientID")
    if not raw:
        rule = "PatientID must not be empty, because folds are split by patient"
        raise InputError(f"{rule}: {OTHER_SOURCE}", faq="patient-ids")
    if b"\0" in raw:
        raise InputError(f"PatientID must be text, got a NUL byte in it: {OTHER_SOURCE}")
    if raw.isascii() and b"\x1b" not in raw:
        return raw.decode("ascii")
    declared = _terms(dataset)
    text = _decoded(raw, declared)
    if text is None:
        shown = "\\".join(declared) or "no SpecificCharacterSet"
        rule = f"PatientID must be text in the declared character set ({shown})"
        raise InputError(f"{rule}, got other bytes: {OTHER_SOURCE}")
    return unicodedata.normalize("NFC", text)


def instance_of(dataset, path: Path) -> tuple[str, bool]:
    """The SOPInstanceUID, or a checksum of a file without one; and whether the result is the checksum."""
    uid = str(dataset.get("SOPInstanceUID") or "").strip()
    return (uid, False) if uid else (f"sha256:{sha256(path)}", True)


def acquisition_of(dataset, content=None) -> tuple[str, ...]:
    """Values of `ACQUISITION_TAGS` for one slice. content: FrameContentSequence item of a frame, or None."""
    values = []
    for name in ACQUISITION_TAGS:
        value = None if content is None else content.get(IN_FRAMES.get(name, name))
        values.append(_text(dataset.get(name) if value is None else value))
    by_tag = dict(zip(ACQUISITION_TAGS, values, strict=True))
    if content is None or not content.get("FrameAcquisitionDateTime"):
        date = "" if dataset.get("AcquisitionDateTime") else str(dataset.get("AcquisitionDate") or "")
        by_tag["AcquisitionTime"] = date + str(dataset.get("AcquisitionDateTime") or by_tag["AcquisitionTime"])
    if content is not None:
        by_tag["InstanceNumber"] = ""  # belongs to the file, not to the frame
    return tuple(by_tag.values())


def _text(value) -> str:
    """A value as text for comparison: numbers without trailing zeros, "" for none."""
    if value is None:
        return ""
    if isinstance(value, (float, int)):  # also DSfloat and IS of pydicom, whose str() is as spelled in the file
        return f"{float(value) + 0.0:.15g}"  # -0 is 0
    return str(value).strip()


def _raw(dataset, name: str) -> bytes:
    """The bytes of a text value as stored in the file, without padding."""
    if isinstance(dataset, PlainHeader):
        value = dataset.raw(name) or b""
    elif name not in dataset:
        return b""
    else:
        value = dataset.get_item(name).value
    if not isinstance(value, bytes):  # set in memory instead of read from a file
        value = str(value or "").encode()
    return value.strip(b" \0")


def _terms(dataset) -> list[str]:
    """The values of SpecificCharacterSet."""
    value = dataset.get("SpecificCharacterSet")
    values = [] if value is None else [value] if isinstance(value, str) else list(value)
    return [str(value).strip() for value in values]


def _decoded(raw: bytes, declared: list[str]) -> str | None:
    """The text, or None if the bytes are invalid or ambiguous in the declared character sets."""
    from pydicom.charset import convert_encodings, decode_bytes, python_encoding

    if not set(declared) <= set(python_encoding):
        return None
    if b"\x1b" not in raw:  # without an escape sequence, all characters are in the first set
        if not declared or declared[0] in ASCII:
            return None
        encoding = python_encoding[declared[0]]
        try:
            text = raw.decode(encoding)
        except UnicodeError:
            return None
        if encoding != "UTF8" and len(text) == len(raw) and _is_utf8(raw):
            return None  # ambiguous: a single-byte character set is declared, but the bytes are valid UTF-8
        return text if text.isprintable() else None
    text = decode_bytes(raw, convert_encodings(declared), set())
    return text if text.isprintable() and "\ufffd" not in text else None


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeError:
        return False
    return True
