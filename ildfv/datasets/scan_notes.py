"""The notes on prepared scans in the report of `prepare`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ildfv.counted import counted
from ildfv.datasets.image_files import image_note
from ildfv.datasets.records import Scan

# Rows and columns of the slices in the paper. On slices of another size, a threshold in pixels means another area.
GRID = 512


def axial_note(missing: Sequence[str]) -> str:
    """The note on a scan of one slice. missing: the tags of position, orientation and thickness that the file lacks."""
    consequences = {
        "ImageOrientationPatient": "the slice is taken to be axial, in the usual orientation",
        "SliceThickness": "the slice thickness is unknown",
    }
    found = " and ".join(text for tag, text in consequences.items() if tag in missing)
    note = f"the file has no {' and no '.join(missing)}, which a scan of one slice does not need"
    return f"{note}: {found}" if found else note


def studies_of_patients(scans: list[Scan]) -> dict[str, int]:
    """Number of studies by patient. The series of a patient that lack a StudyInstanceUID count as one study."""
    studies: dict[str, set[str]] = defaultdict(set)
    for scan in scans:
        if scan.dicom is not None:
            studies[scan.patient].add(scan.dicom.study)
    return {patient: len(found) for patient, found in studies.items()}


def scan_notes(scan: Scan, slices: int, labelled: int, studies: int, *, pixel_counts: bool = False) -> list[str]:
    """The notes on a prepared scan: properties of its files that the user should check.

    slices, labelled: numbers of slices and of labelled slices. studies: number of studies with the scan's PatientID.
    pixel_counts: as in `ScanSettings`.
    """
    notes = []
    if studies > 1:
        notes.append(
            f"the PatientID is in {studies} studies, which count as one patient: if they are of different people, "
            "pass --patient-from folder or --patient-from study"
        )
    if scan.dicom is not None and scan.dicom.acquisition:
        notes.append(
            "the series has several acquisitions that interleave or repeat positions: each acquisition is one scan"
        )
    if scan.dicom is not None and scan.dicom.unnamed:
        notes.append(
            f"files without a SOPInstanceUID are identified by a checksum: {counted(scan.dicom.unnamed, 'file')}"
        )
    if scan.dicom is not None and scan.dicom.missing:
        notes.append(axial_note(scan.dicom.missing))
    if scan.grey is not None:
        notes.append(image_note(scan))
    if scan.mask is not None:
        notes.append("the lung is taken from the given mask")
    has_counts = pixel_counts or bool(scan.labels)  # labels 0 and 1 do not depend on T
    if has_counts and (grid := scan.geometry.shape[1:]) != (GRID, GRID):
        size = f"slices are {grid[0]}×{grid[1]}, not {GRID}×{GRID}"
        notes.append(f"{size}: if the threshold T is in pixels, check it with `ildfv stats`")
    if scan.patients_in_study > 1:
        notes.append(
            f"the study has scans of {scan.patients_in_study} different patients: if they are the same person, give "
            "them one PatientID or, with --patient-from folder, one folder"
        )
    if scan.unreadable:
        notes.append(f"slices at the ends may be missing, because the folder has unreadable files: {scan.unreadable}")
    names = ", ".join(label.path.name for label in scan.labels)
    if names and not labelled:
        notes.append(f"{names} labels neither healthy lung nor a pattern: the scan counts as unlabelled")
    elif names and labelled < slices:
        notes.append(
            f"slices with lung but no label count as unlabelled: {slices - labelled} of {counted(slices, 'slice')}"
        )
    return notes
