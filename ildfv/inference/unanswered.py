"""Input next to the predicted scans that may be other scans, and must not be passed over without a word."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ildfv.counted import counted
from ildfv.datasets.records import Discovery, Scan, Unused
from ildfv.scans.volumefiles import SUFFIXES


def unanswered(found: Discovery, chosen: Sequence[Scan]) -> tuple[list[Unused], list[str]]:
    """(input that may be a scan without a prediction, notes on the other input that cannot be used).

    Parameters
    ----------
    found : Discovery
        All input of one source.
    chosen : sequence of Scan
        The scans to predict: one series of a single patient, or all series.

    Returns
    -------
    list of Unused
        Series of other patients that fail a check, and files outside the folders of the chosen scans. If all series
        are to be predicted, also series of the same patients.
    list of str
        Other series of the single patient, and unreadable files in the folder of the scan, which may be slices of it.
    """
    folders = {file.parent for scan in chosen if scan.dicom is not None for file in scan.files}
    patient = chosen[0].patient if len(chosen) == 1 and chosen[0].dicom is not None else None
    lost: list[Unused] = []
    series: list[Unused] = []
    nearby: list[Unused] = []
    for unused in found.quarantined:
        if unused.patient:
            (series if unused.patient == patient else lost).append(unused)
        elif unused.source.name.lower().endswith(SUFFIXES) or not ({unused.source, unused.source.parent} & folders):
            lost.append(unused)
        else:
            nearby.append(unused)
    notes = []
    if series:
        notes.append(f"{len(series)} other series cannot be used; the first: {series[0].reason}")
    if nearby:
        files = counted(sum(unused.files for unused in nearby), "file")
        notes.append(f"{files} in the folder of the scan cannot be used, so slices may be missing: {nearby[0].reason}")
    return lost, notes


def explained_unused(unused: Unused, folder: Path) -> str:
    """The reason of one entry on one line, with its path below `folder` and its number of files."""
    inside = unused.source.relative_to(folder) if unused.source != folder else Path(unused.source.name)
    files = f" ({counted(unused.files, 'file')})" if unused.files > 1 else ""
    return f"{inside}{files}: {unused.reason}"
