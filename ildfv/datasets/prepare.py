"""Preparation of all scans of a folder: search, conversion to stored parts, removal of duplicates, and the report."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from ildfv.datasets.input import find_scans
from ildfv.datasets.prepare_run import PrepareRun
from ildfv.datasets.records import Discovery
from ildfv.datasets.report import PrepareReport
from ildfv.datasets.scan_notes import studies_of_patients
from ildfv.datasets.settings import DEFAULTS, ScanSettings
from ildfv.datasets.slices_key import slices_key
from ildfv.datasets.unpacked import Unpacked
from ildfv.errors import InputError
from ildfv.progress import SILENT, Progress
from ildfv.store.parts import writing_parts
from ildfv.streaming.processes import kept_workers


def prepare(
    scans: Path,
    out: Path,
    settings: ScanSettings = DEFAULTS,
    *,
    salt: str,
    view: Unpacked | None = None,
    check_found: Callable[[Discovery], None] | None = None,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> PrepareReport:
    """Stores the slices of all usable scans as parts in `out`, and returns the report on every file in `scans`.

    A scan is not converted again if its part exists, is intact and was made from the same files with the same settings.
    Otherwise its part is replaced, with two exceptions. A part of a volume file at another absolute path is replaced
    only if the slices are equal, because `a/p1/ct.nii.gz` and `b/p1/ct.nii.gz` have the same path below the input
    folder but may be scans of two people. A labelled part is never replaced by a part without labels.

    A scan that fails a check or duplicates another scan (`find_duplicates`) is quarantined; the run continues. The
    stored part of a scan that fails a check is kept if it is intact. Parts that are removed because they are duplicates
    or corrupt are listed in `removed` of the report.

    Parameters
    ----------
    scans : path
        A folder, which is searched with all its subfolders, or one file.
    out : path
        Folder of the slice store.
    settings : ScanSettings
        The settings for finding and preparing scans.
    salt : str
        The workspace's salt for the hashes of patients and series.
    view : Unpacked, optional
        The original input, if `scans` is a copy of it with unpacked archives.
    check_found : callable, optional
        Called with the result of the search before any scan is converted; it may raise.
    workers : int, optional
        Number of processes; one per core by default.

    Raises
    ------
    InputError
        If `scans` does not exist or contains no file, the settings contradict each other, a table, layout or folder of
        lung masks is invalid, `salt` is empty, or `out` was written with another salt.
    """
    if not salt:
        raise InputError("salt must not be empty, because identities are hashed with it, got ''")
    scans, out = Path(scans), Path(out)
    with ExitStack() as stack:
        stack.enter_context(kept_workers(workers))  # the same processes read headers and convert scans
        found = find_scans(scans, settings, view=view, workers=workers, progress=progress)
        if check_found is not None:
            check_found(found)
        report = PrepareReport(quarantined=list(found.quarantined), ignored=list(found.ignored))
        base = scans if scans.is_dir() else scans.parent
        parts = stack.enter_context(writing_parts(out, slices_key(salt)))
        run = PrepareRun(parts, report, out, base, settings, salt, studies_of_patients(found.scans), view, progress)
        report.quarantined = [run.refused(unused) for unused in report.quarantined]
        for scan in found.scans:
            run.plan(scan)
        run.convert(workers)
        run.quarantine_duplicates(found.scans)
        run.drop_unseparated(found.scans)
    for entries in (report.prepared, report.quarantined):
        entries.sort(key=lambda entry: str(entry.source))
    return report
