"""Patients that the user lists. They replace the patients from PatientIDs and folders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from ildfv.datasets.records import Discovery, Scan, Unused
from ildfv.errors import InputError, check, explained


def with_patients(
    found: Discovery, patients: Mapping[Path | str, str], original: Callable[[Path], Path] = lambda path: path
) -> None:
    """Sets the listed patient of each scan of `found`. A scan without a listed patient, or with two, is quarantined.

    patients: the patient by resolved path of a file or folder of the scan, or by its series. original: returns the path
    of a source as given by the user.
    """
    kept = []
    for scan in found.scans:
        try:
            kept.append(replace(scan, patient=_patient(scan, patients, original)))
        except InputError as error:
            found.quarantined.append(Unused(scan.source, explained(error), len(scan.files), scan.series))
    found.scans = kept


def _patient(scan: Scan, patients: Mapping[Path | str, str], original: Callable[[Path], Path]) -> str:
    names: list[Path | str] = [original(path).resolve() for path in (scan.source, *scan.files)]
    listed = sorted({patients[name] for name in [*names, scan.series] if name in patients})
    check(len(listed) > 0, "a scan must have a patient in the column patient of the labels, got none")
    check(len(listed) == 1, f"a scan must have one patient, got {' and '.join(listed[:3])} in the labels")
    return listed[0]
