"""The series that is predicted from a folder of one patient, and its identifiers."""

from __future__ import annotations

from pathlib import Path

from ildfv.counted import counted
from ildfv.datasets.records import Discovery, Scan
from ildfv.errors import InputError, check

LISTED = 40  # maximum number of series in a message


def choose(found: Discovery, series: str | None, path: Path) -> tuple[Scan, list[str]]:
    """(the scan to predict, notes on the choice).

    InputError: there is no scan, there are several patients, or the series is unknown.
    """
    if not found.scans:
        reasons = [unused.reason for unused in [*found.quarantined, *found.ignored]]
        got = reasons[0] if reasons else "no file that can be read"
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        raise InputError(f"{path} must contain a CT scan, got none: {got}{more}")
    patients = {scan.patient for scan in found.scans}
    named = any(scan.series == series for scan in found.scans)
    check(
        len(patients) == 1 or named,
        f"{path} must contain one patient, got {len(patients)}: give the folder of one patient, or --series with a "
        "SeriesInstanceUID",
    )
    ranked = sorted(found.scans, key=lambda scan: (-scan.geometry.shape[0], scan.series))
    if series is not None:
        matching = [scan for scan in ranked if scan.series == series]
        if series.isdecimal() and 1 <= int(series) <= len(ranked):
            matching = [ranked[int(series) - 1]]
        rule = f"series must be a number from 1 to {len(ranked)} or the SeriesInstanceUID of a series in {path}"
        check(len(matching) == 1, f"{rule}, got {series}. The series are {_listed(ranked)}")
        return matching[0], []
    if len(ranked) == 1:
        return ranked[0], []
    return ranked[0], [
        f"{len(ranked)} series were found: {_listed(ranked)}. Series 1, with the most slices, is used; choose another "
        "with --series NUMBER"
    ]


def _listed(scans: list[Scan]) -> str:
    """Text such as "1: 300 slices, 1.25 mm apart; 2: 60 slices, 5 mm apart"."""
    sizes = [(scan.geometry.shape[0], scan.geometry.spacing[0]) for scan in scans[:LISTED]]
    named = [f"{i}: {counted(n, 'slice')}, {mm:.3g} mm apart" for i, (n, mm) in enumerate(sizes, start=1)]
    return "; ".join(named) + (f"; and {len(scans) - LISTED} more" if len(scans) > LISTED else "")


def identity_of(scan: Scan, source: str) -> dict[str, str]:
    """The identifiers of a scan, which `keep_identity` adds to a prediction. source: path or address of the scan."""
    study = "" if scan.dicom is None else scan.dicom.study
    return {"patient": scan.patient, "study": study, "series": scan.series, "source": source}
