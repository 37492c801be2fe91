"""The input of `prepare`: the scans of a table, of a folder of images, or those that a search finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ildfv.datasets.discovery import discover
from ildfv.datasets.identity import LISTED
from ildfv.datasets.image_files import image_scans
from ildfv.datasets.lung_masks import with_masks
from ildfv.datasets.patients import with_patients
from ildfv.datasets.records import Discovery
from ildfv.datasets.table import listed_scans
from ildfv.datasets.unpacked import Unpacked
from ildfv.errors import check
from ildfv.progress import Progress
from ildfv.scans.images import Grey
from ildfv.scans.labels import Codes


def find_scans(
    scans: Path,
    table: Path | None,
    codes: Path | str | None,
    *,
    packed: bool,
    resample: bool = False,
    patient_from: str = "id",
    grey: Grey | None = None,
    patients: Mapping[Path | str, str] | None = None,
    lung_masks: Path | None = None,
    view: Unpacked | None = None,
    workers: int | None,
    progress: Progress,
) -> Discovery:
    """The input of `prepare`: the scans of the table, or those that a search of the folder finds."""
    base = scans if scans.is_dir() else scans.parent
    check(
        table is None or patients is None, "patients must be in --table or --labels, got both: remove a column patient"
    )
    patient_from = patient_from if patients is None else LISTED
    known = None if view is None else view.found
    found = _searched(
        scans,
        base,
        table,
        codes,
        packed=packed,
        resample=resample,
        patient_from=patient_from,
        known=known,
        grey=grey,
        workers=workers,
        progress=progress,
    )
    if patients is not None:
        with_patients(found, patients, (lambda path: path) if view is None else view.original)
    if lung_masks is not None:
        check(table is None, "lung masks must be in the column lung of --table, got --lung-masks too")
        with_masks(found, lung_masks, base)
    return found


def _searched(
    scans: Path,
    base: Path,
    table: Path | None,
    codes: Path | str | None,
    *,
    packed: bool,
    resample: bool,
    patient_from: str,
    known: Discovery | None,
    grey: Grey | None,
    workers: int | None,
    progress: Progress,
) -> Discovery:
    meanings = None if codes is None else Codes.load(codes)
    if table is not None:
        return listed_scans(
            table,
            base,
            codes=meanings,
            resample=resample,
            patient_from=patient_from,
            grey=grey,
            workers=workers,
            progress=progress,
        )
    if grey is not None:
        return image_scans(scans, grey, progress=progress)
    found = discover(
        scans,
        labels=codes is not None,
        codes=meanings,
        packed=packed,
        resample=resample,
        patient_from=patient_from,
        known=known,
        workers=workers,
        progress=progress,
    )
    if codes is not None:  # the table may be in the folder of the scans
        found.ignored = [
            replace(unused, reason="the table of label codes") if unused.source == Path(codes) else unused
            for unused in found.ignored
        ]
    return found
