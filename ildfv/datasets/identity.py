"""The patient of a scan, and pseudonyms of patients and series: salted hashes of the raw identifiers."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path, PurePath

from ildfv.errors import InputError
from ildfv.scans.archives import SUFFIX
from ildfv.scans.dicom import Series

SOURCES = ("id", "folder", "study")  # choices of `patient_from` for DICOM series
LISTED = "table"  # `patient_from` of a scan whose patient is listed in a table


def check_source(source: str) -> None:
    """Raises `InputError` unless `source` is one of `SOURCES` or `LISTED`."""
    if source not in (*SOURCES, LISTED):
        raise InputError(f"patient_from must be one of {', '.join(SOURCES)}, got {source!r}")


def patient_of(series: Series, base: Path, source: str) -> str:
    """The patient of a DICOM series according to `source`; "" if a table lists the patient.

    source: "id" for the PatientID; "folder" for the first folder on the path below `base`, as for volume files; "study"
    for the StudyInstanceUID. Raises `InputError` if the series has no such identity.
    """
    if source == LISTED:
        return ""
    if source == "id":
        if series.patient_fault:
            raise InputError(series.patient_fault)
        return series.patient
    if source == "study":
        if not series.study:
            raise InputError(
                "StudyInstanceUID must be present with --patient-from study, got none: use --patient-from folder"
            )
        return series.study
    folders = {first_folder(path.relative_to(base)) for path in series.files}
    if folders == {""} or len(folders) > 1:
        where = "directly in the input folder" if folders == {""} else f"in {len(folders)} folders"
        rule = "with --patient-from folder, the files of a series must be in one folder of the input"
        raise InputError(f"{rule}, got files {where}: move them, or use --patient-from study")
    return folders.pop()


def first_folder(inside: PurePath) -> str:
    """The first folder on a path relative to the input, or "" for a file directly in the input.

    An archive p1.zip counts as a folder p1.
    """
    folder = inside.parts[0] if len(inside.parts) > 1 else ""
    return folder[: -len(SUFFIX)] if folder.lower().endswith(SUFFIX) else folder


def hashed(raw: str, salt: str) -> str:
    """16 hex digits of HMAC-SHA256(salt, raw id). Without the salt, nobody can test whether a hash belongs to an id.

    White space around the id is ignored. Raises `InputError` if nothing remains.
    """
    if not raw.strip():
        raise InputError("an identifier of a patient or series must not be empty, got ''")
    return hmac.new(salt.encode(), raw.strip().encode(errors="surrogateescape"), hashlib.sha256).hexdigest()[:16]
