"""The input of `prepare`: the scans of a table or published set, the images in a folder, or the scans in a folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ildfv.datasets.discovery import discover
from ildfv.datasets.image_files import image_scans
from ildfv.datasets.lung_masks import with_masks
from ildfv.datasets.patients import with_patients
from ildfv.datasets.records import Discovery
from ildfv.datasets.set_layouts import listed_by_layout
from ildfv.datasets.settings import ScanSettings
from ildfv.datasets.table import listed_scans, with_listed
from ildfv.datasets.unpacked import Unpacked
from ildfv.errors import check
from ildfv.progress import SILENT, Progress
from ildfv.scans.prepared_lungs import RULE


def find_scans(
    scans: Path,
    settings: ScanSettings,
    *,
    view: Unpacked | None = None,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> Discovery:
    """The scans to prepare and the unused files. Only headers are read.

    scans: a folder or a file. view: the original input, if `scans` is a copy of it with unpacked archives.

    Raises `InputError` if options contradict each other, a table or layout is invalid, a folder is missing, or `scans`
    contains no file.
    """
    base = scans if scans.is_dir() else scans.parent
    check_sources(settings)
    if settings.layout is not None:
        found = Discovery()
        rows = listed_by_layout(settings.layout, scans, found)
        with_listed(found, rows, base, settings, workers=workers, progress=progress)
    elif settings.table is not None:
        found = listed_scans(settings.table, base, settings, workers=workers, progress=progress)
    elif settings.grey is not None:
        found = image_scans(scans, settings.grey, progress=progress)
    else:
        found = _searched(scans, settings, view, workers, progress)
    if settings.patients is not None:
        with_patients(found, settings.patients, (lambda path: path) if view is None else view.original)
    if settings.lung_masks is not None:
        with_masks(found, settings.lung_masks, base)
    return found


def _searched(
    scans: Path, settings: ScanSettings, view: Unpacked | None, workers: int | None, progress: Progress
) -> Discovery:
    """The scans that a search of the folder finds."""
    codes = settings.codes
    known = None if view is None else view.found
    found = discover(scans, settings, labels=codes is not None, known=known, workers=workers, progress=progress)
    if codes is not None:  # the code table itself may be in the folder of the scans
        found.ignored = [
            replace(unused, reason="the table of label codes") if unused.source == codes.source else unused
            for unused in found.ignored
        ]
    return found


def check_sources(settings: ScanSettings) -> None:
    """Raises `InputError` if options contradict each other. No file is read: call it before a workspace is created."""
    if settings.layout is not None:
        others = {"--table": settings.table, "--grey": settings.grey, "a column patient in --labels": settings.patients}
        given = [name for name, value in others.items() if value is not None]
        check(not given, f"--layout must be the only source of scans and patients, got {', '.join(given)} as well")
    check(
        settings.table is None or settings.patients is None,
        "the column patient must be in --table or in --labels, got it in both: remove it from one of them",
    )
    check(
        settings.grey is None or settings.preparation.is_default,
        f"images (--grey) must be prepared without options that need the HU of a scan, got "
        f"{settings.preparation.described()}: omit them",
    )
    if settings.lung_masks is not None:
        check(
            settings.preparation.lungs == RULE,
            f"--lung-masks must be used without --lungs {settings.preparation.lungs}, got both: omit one",
        )
        rule = "with --layout, lung masks must be part of the set"
        check(settings.layout is None, f"{rule}, got --lung-masks: omit this option")
        rule = "with --table, lung masks must be listed in its column lung"
        check(settings.table is None, f"{rule}, got --lung-masks: omit this option")
