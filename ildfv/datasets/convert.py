"""One scan converted to slices: read, checked, windowed, counted, pseudonymised and written, in a worker process."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ildfv.datasets.identity import hashed
from ildfv.datasets.records import Scan
from ildfv.datasets.slice_store import ScanSlices, write_scan
from ildfv.errors import InputError, MissingPackageError
from ildfv.patterns import PATTERNS, UNLABELLED
from ildfv.scans.density import COLUMNS, density
from ildfv.scans.dicom import read_series
from ildfv.scans.labels import Codes, has_lung_labels, pattern_labels
from ildfv.scans.libraries import format_error, quiet
from ildfv.scans.lungs import check_lung, lung_mask
from ildfv.scans.segmentation import read_segmentation
from ildfv.scans.volume import Volume
from ildfv.scans.volumefiles import read_file, read_label_file
from ildfv.scans.windows import SIZE, WINDOWS, nearest, windowed
from ildfv.store.parts import Parts, Row

PHANTOM = "PHANTOM"  # prefix of the patient id of a generated or physical phantom


@dataclass(frozen=True)
class Task:
    """A scan to convert, and what its slices may overwrite."""

    scan: Scan
    codes: Codes | None
    salt: str
    store: Path  # folder of the stored parts
    out: Path  # folder that the new part is written to
    key: str
    same_slices: bool = False  # the stored part is from another file: only equal slices may replace it


@dataclass(frozen=True)
class Outcome:
    """The result of a task: a row for the manifest, or the reason why there is none."""

    row: Row | None = None
    labelled: bool = False
    reason: str = ""
    kept: bool = False  # the stored part and its row are kept


def convert_scan(task: Task) -> Outcome:
    """The outcome of reading one scan and writing its part. Never raises because of the input."""
    try:
        with quiet():
            scan = scan_slices(task.scan, task.codes, task.salt)
        if task.same_slices and _keeps_labels(task, scan):
            return Outcome(kept=True)
    except (InputError, MissingPackageError) as error:
        return Outcome(reason=str(error))
    except MemoryError:
        return Outcome(reason="must fit in memory, got MemoryError")
    except Exception as error:  # one scan must not end the run; the reason names the line
        where = traceback.extract_tb(error.__traceback__)[-1]
        return Outcome(reason=f"unexpected {format_error(error)} ({Path(where.filename).name}:{where.lineno})")
    return Outcome(write_scan(task.out, scan, key=task.key), scan.labelled)


def scan_slices(scan: Scan, codes: Codes | None, salt: str) -> ScanSlices:
    """The slices of one scan, read and checked.

    They are unlabelled without codes, without a label map, and with a label map that marks neither healthy lung nor a
    pattern.
    """
    volume = _volume(scan)
    m = len(volume.hu)
    lung, densities = np.empty(m, np.int32), np.empty((m, len(COLUMNS)), np.float32)
    for z, slice_ in enumerate(volume.hu):
        mask = lung_mask(slice_, volume.pixel_area)
        lung[z], densities[z] = np.count_nonzero(mask), density(slice_, mask)
    check_lung(lung, volume.pixel_area)
    labels = None
    if scan.label is not None and codes is not None:
        meanings = _meanings(scan, volume, codes)
        if has_lung_labels(meanings):
            labels = pattern_labels(meanings)
    images = np.empty((m, len(WINDOWS), SIZE, SIZE), np.uint8)
    for z in range(m):  # slice by slice: the float windows of a whole scan take several GB
        images[z] = windowed(volume.hu[z])
    if labels is None:
        small = np.zeros((m, SIZE, SIZE), np.uint8)
        counts = np.full((m, len(PATTERNS)), UNLABELLED, np.int32)
    else:
        small = nearest(labels)
        counts = np.array([np.bincount(slice_.ravel(), minlength=len(PATTERNS) + 1)[1:] for slice_ in labels], np.int32)
    return ScanSlices(
        images=images,
        labels=small,
        counts=counts,
        lung=lung,
        density=densities,
        positions=volume.positions,
        patient=hashed(volume.patient_id, salt),
        series=hashed(volume.series_id, salt),
        labelled=labels is not None,
        pixel_area=volume.pixel_area,
        phantom=volume.patient_id.upper().startswith(PHANTOM),
    )


def _keeps_labels(task: Task, scan: ScanSlices) -> bool:
    """Whether the stored part is kept for its labels. Raises `InputError` if its slices differ from the scan's."""
    with Parts(task.store).open(scan.series) as stored:
        if not np.array_equal(stored["images"][()], scan.images):
            raise InputError(
                f"its path {task.scan.series} below the input folder must be unique, got that of another scan prepared "
                "earlier: rename its folder or file, or prepare it into another workspace"
            )
        return task.codes is None and bool(stored.attrs["labelled"])


def _volume(scan: Scan) -> Volume:
    if scan.dicom is not None:
        return read_series(scan.dicom)
    return read_file(scan.source, scan.kind, patient_id=scan.patient, series_id=scan.series)


def _meanings(scan: Scan, volume: Volume, codes: Codes) -> np.ndarray:
    """Meaning of each voxel according to the scan's label map, uint8 (z, y, x)."""
    label = scan.label
    assert label is not None
    try:
        if label.kind == "dicom":
            return read_segmentation(label.path, volume.geometry, codes)
        values = read_label_file(label.path, label.kind)
        if values.shape != volume.hu.shape:  # pairing compared the headers; the files may have changed since
            raise InputError(f"must have shape {volume.hu.shape}, got {values.shape}")
        return codes.translate(values)
    except InputError as error:
        raise InputError(f"label map {label.path.name}: {error}") from error
