"""Choice of the scans to predict in a source, and the identifiers of a scan.

A source is a folder or file that the user gives to `ildfv predict`.
"""

from __future__ import annotations

from pathlib import Path

from ildfv.counted import counted
from ildfv.datasets.records import Discovery, Scan, Unused
from ildfv.errors import InputError, check
from ildfv.inference.unanswered import notes_on_unused, reason_of, several, unanswered

LISTED = 40  # maximum number of series in a message


def jobs(
    found: Discovery, path: Path, series: str | None, *, alone: bool
) -> tuple[list[tuple[Scan, list[str]]], list[Unused]]:
    """((scan, notes) of each scan to predict, input that may be a scan but cannot be predicted); see `unanswered`.

    path, series: as for `choose`. alone: whether the source contains no archives. InputError: as for `choose`, or
    `series` is given for images. However, if there is no scan, but there are archives or unusable input of several
    patients, each input is returned with its reason.
    """
    unused = found.quarantined
    if not found.scans and (not alone or several(unanswered(found, [], alone=False))):
        return [], unanswered(found, [], alone=False)
    if all(scan.grey is not None for scan in found.scans) and found.scans:
        check(series is None, f"--series must be omitted for images, got {series}")
        return [(scan, []) for scan in found.scans], unused
    several_patients = len({scan.patient for scan in found.scans}) > 1
    # Several series of one slice each are separate slices, not reconstructions of one scan: all of them are predicted.
    only_slices = len(found.scans) > 1 and all(scan.geometry.shape[0] == 1 for scan in found.scans)
    if (several_patients or only_slices) and series is None:
        every = [(scan, notes_on_unused(unused, scan, alone=False)) for scan in found.scans]
        return every, unanswered(found, found.scans, alone=False)
    scan, notes = choose(found, series, path)
    if series is not None:  # the user wants this series only
        return [(scan, notes)], []
    return [(scan, [*notes, *notes_on_unused(unused, scan, alone=True)])], unanswered(found, [scan], alone=True)


def choose(found: Discovery, series: str | None, path: Path) -> tuple[Scan, list[str]]:
    """(the scan to predict, notes on the choice).

    series: number or SeriesInstanceUID; None: the series with the most slices, of those that have a lung mask if masks
    are given. path: the source, for messages.
    InputError: there is no scan, there are several patients, or the series is unknown.
    """
    if not found.scans:
        images = sorted(found.ignored, key=lambda unused: not unused.other_image)
        reasons = [reason_of(unused) for unused in [*found.quarantined, *images]]
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
    ranked = sorted(found.scans, key=lambda scan: (bool(scan.no_mask), -scan.geometry.shape[0], scan.series))
    if series is not None:
        matching = [scan for scan in ranked if scan.series == series]
        if series.isdecimal() and 1 <= int(series) <= len(ranked):
            matching = [ranked[int(series) - 1]]
        rule = f"series must be a number from 1 to {len(ranked)} or the SeriesInstanceUID of a series in {path}"
        check(len(matching) == 1, f"{rule}, got {series}. The series are {_listed(ranked)}")
        return matching[0], []
    if len(ranked) == 1:
        return ranked[0], []
    of = " of the series with a lung mask" if any(scan.no_mask for scan in ranked) and not ranked[0].no_mask else ""
    return ranked[0], [
        f"{len(ranked)} series were found: {_listed(ranked)}. Series 1, with the most slices{of}, is used; choose "
        "another with --series NUMBER"
    ]


def _listed(scans: list[Scan]) -> str:
    """Text such as "1: 300 slices, 1.25 mm apart; 2: 1 slice"."""
    sizes = [(scan.geometry.shape[0], scan.geometry.spacing[0]) for scan in scans[:LISTED]]
    named = [
        f"{i}: {counted(n, 'slice')}" + f", {mm:.3g} mm apart" * (n > 1) for i, (n, mm) in enumerate(sizes, start=1)
    ]
    return "; ".join(named) + (f"; and {len(scans) - LISTED} more" if len(scans) > LISTED else "")


def identity_of(scan: Scan, source: str) -> dict[str, str]:
    """The identifiers of a scan, which `keep_identity` adds to a prediction. source: path or address of the scan."""
    study = "" if scan.dicom is None else scan.dicom.study
    return {"patient": scan.patient, "study": study, "series": scan.series, "source": source}
