"""The scans or images in a folder to which a predictor can be applied.

A predictor trained on scans in HU can be applied to scans only, and a predictor trained on images to images only. An
image has neither HU outside its window nor a pixel size, so the performance measured on scans does not apply to images,
and vice versa.
"""

from __future__ import annotations

from pathlib import Path

from ildfv.datasets.discovery import discover
from ildfv.datasets.image_files import image_note, image_scans
from ildfv.datasets.records import Discovery, Scan
from ildfv.datasets.scan_notes import axial_note
from ildfv.errors import InputError, check
from ildfv.scans.grey import Grey
from ildfv.scans.images import is_image

NO_AREAS = "areas in cm² are therefore not given"


def scans_in(folder: Path, grey: Grey | None) -> Discovery:
    """The scans in a folder or file or, with `grey`, the images, each as a scan of one slice (`datasets.image_files`).

    grey: `HowPrepared.grey` of the predictor; None for a predictor trained on scans.
    """
    return discover(folder, labels=False, workers=1) if grey is None else image_scans(folder, grey)


def check_kind(found: Discovery, folder: Path, grey: Grey | None) -> None:
    """Raises InputError if a predictor trained on images is given no image, or one trained on scans only images.

    grey: as for `scans_in`. Input that fails a check is reported elsewhere.
    """
    if found.scans or found.quarantined:
        return
    if grey is not None:
        raise InputError(
            f"{folder} must contain PNG, JPEG or TIFF images, because the predictor was trained on images "
            f"({grey.option}), got none: export the slices as images with this window, or use a predictor trained on "
            "scans",
            faq="predict-images",
        )
    files = folder.rglob("*") if folder.is_dir() else [folder]
    check(
        not any(map(is_image, files)),
        f"{folder} must contain a CT scan in HU, because the predictor was trained on scans, got PNG, JPEG or TIFF "
        "images: predict the scan itself, or train on images with `ildfv prepare --grey`",
        faq="predict-images",
    )


def notes_on_source(scan: Scan) -> list[str]:
    """The notes on the limitations of an image, and of a slice without a position; none for other scans."""
    notes = [] if scan.grey is None else [f"{image_note(scan)}; {NO_AREAS}"]
    return notes + ([axial_note(scan.dicom.missing)] if scan.dicom is not None and scan.dicom.missing else [])
