"""Writes the objects of a prediction into a folder: all of them or none."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread

from ildfv.dicom_output.captures import captures
from ildfv.dicom_output.identifiers import Identifiers
from ildfv.dicom_output.origin import Origin, identifiers_of
from ildfv.dicom_output.parametric_map import parametric_map
from ildfv.dicom_output.report import report
from ildfv.dicom_output.segmentation import segmentation
from ildfv.dicom_output.sources import Source, refer, restore_identity
from ildfv.errors import check
from ildfv.inference.prediction import Prediction
from ildfv.scans.dicom import Series
from ildfv.scans.libraries import quiet
from ildfv.store.atomic import TEMPORARY, check_space, sync

REPORT = "report.dcm"
HEADER = 1 << 20  # bytes of free space required for the header of an object


def write_objects(folder: Path, prediction: Prediction, series: Series) -> list[Path]:
    """Writes all objects of a prediction and returns their paths, the report last.

    The objects contain the patient and study of the source. A folder that already contains the objects of the same scan
    and predictor is not changed.

    Parameters
    ----------
    folder : path
        Created by this function, when all objects are complete.
    prediction : Prediction
        The prediction for the scan that was read from `series`.
    series : Series
        The source of the scan.

    Raises
    ------
    InputError
        The source lacks a UID, position or orientation that the objects need, the folder has other objects, or the disk
        is full.
    """
    folder = Path(folder)
    with quiet():
        origin = Origin(prediction, Source.of(series))
        if folder.exists():
            same = _holds(folder, origin.identifiers)
            check(same, f"{folder} has objects of another predictor or of other slices: use another --dicom folder")
            return paths(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = folder.with_name(f"{TEMPORARY}{os.getpid()}-{uuid.uuid4().hex[:8]}-{folder.name}")
        try:
            temporary.mkdir()
            for name, dataset in _objects(origin):
                _finish(dataset, origin)
                check_space(temporary, len(dataset.get("PixelData", b"")) + HEADER)
                dataset.save_as(temporary / name, enforce_file_format=True)
                sync(temporary / name)
            sync(temporary)
            os.replace(temporary, folder)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        sync(folder.parent)
    return paths(folder)


def holds(folder: Path, checksum: str, series: Series) -> bool:
    """Whether the folder has the objects of this predictor's prediction for this series.

    checksum: SHA-256 of the predictor. InputError: as for `write_objects`, if the source is incomplete.
    """
    with quiet():
        return _holds(Path(folder), identifiers_of(checksum, Source.of(series)))


def _holds(folder: Path, identifiers: Identifiers) -> bool:
    path = folder / REPORT
    return path.is_file() and dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID == identifiers.uid(
        "report", 1
    )


def paths(folder: Path) -> list[Path]:
    """The objects in a folder. The report is last, so that the others are stored when it appears in a PACS."""
    return sorted(Path(folder).glob("*.dcm"), key=lambda path: (path.name == REPORT, path.name))


def _objects(origin: Origin) -> Iterator[tuple[str, Dataset]]:
    """The objects with their file names, one in memory at a time."""
    if origin.prediction.contributions is not None:
        regions = segmentation(origin)
        if regions is not None:
            yield "segmentation.dcm", regions
        explained = origin.prediction.heads[origin.prediction.contributions_head or ""]
        for c in np.flatnonzero(explained.labelled).tolist():
            pattern = origin.prediction.patterns[c]
            yield f"map-{pattern.replace(' ', '-')}.dcm", parametric_map(origin, c)
    for i, picture in enumerate(captures(origin)):
        yield f"picture-{i + 1}.dcm", picture
    yield REPORT, report(origin)


def _finish(dataset: Dataset, origin: Origin) -> None:
    """Copies the identity of the source to an object, corrects its references, and makes its UIDs deterministic."""
    restore_identity(dataset, origin.source.original)
    refer(dataset, origin.source)
    if "Rows" in dataset:
        dataset.BodyPartExamined = "CHEST"  # without it, Laterality is required
    if "DimensionOrganizationSequence" in dataset:
        organization = origin.identifiers.uid(dataset.SOPInstanceUID, "dimensions")
        for item in (*dataset.DimensionOrganizationSequence, *dataset.DimensionIndexSequence):
            item.DimensionOrganizationUID = organization
