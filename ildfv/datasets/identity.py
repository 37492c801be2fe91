"""The patient of a scan, and pseudonyms of patients and series: salted hashes of the raw identifiers."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path, PurePath

from ildfv.errors import InputError
from ildfv.scans.archives import SUFFIX
from ildfv.scans.dicom import Series

SOURCES = ("id", "folder", "study")  # of the patient identity of DICOM series
LISTED = "table"  # the patient is listed in a table of scans


def check_source(source: str) -> None:
    """Raises `InputError` unless `source` is one of `SOURCES`."""
    if source not in (*SOURCES, LISTED):
        raise InputError(f"patient_from must be one of {', '.join(SOURCES)}, got {source!r}")


def patient_of(series: Series, base: Path, source: str) -> str:
    """The patient of a DICOM series: its PatientID ("id"), its folder, its study, or "" if a table lists it.

    The folder is the first one on its path below `base`, as for volume files; the study is its StudyInstanceUID.
    Raises `InputError` if the series has no such identity.
    """
    if source == LISTED:
        return ""
    if source == "id":
        if series.patient_fault:
            raise InputError(series.patient_fault)
        return series.patient
    if source == "study":
        if not series.study:
            raise InputError("StudyInstanceUID must be present with --patient-from study, got none")
        return series.study
    folders = {first_folder(path.relative_to(base)) for path in series.files}
    if folders == {""} or len(folders) > 1:
        where = "directly in the input folder" if folders == {""} else f"in {len(folders)} folders"
        raise InputError(f"with --patient-from folder a series must be in one folder of the input, got files {where}")
    return folders.pop()


def first_folder(inside: PurePath) -> str:
    """The first folder on a path below the input, "" for a file directly in it. An archive p1.zip is the folder p1."""
    folder = inside.parts[0] if len(inside.parts) > 1 else ""
    return folder[: -len(SUFFIX)] if folder.lower().endswith(SUFFIX) else folder


def hashed(raw: str, salt: str) -> str:
    """16 hex digits of HMAC-SHA256(salt, raw id). Without the salt, a guessed id cannot be compared with it."""
    if not raw.strip():
        raise InputError("an id must not be empty, got ''")
    return hmac.new(salt.encode(), raw.strip().encode(errors="surrogateescape"), hashlib.sha256).hexdigest()[:16]
