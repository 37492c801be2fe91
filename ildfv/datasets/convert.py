"""Conversion of one scan to stored slices, in a worker process.

The scan is read and checked, its slices are mapped to the three windows, the pixels of each pattern are counted, and
identifiers are replaced by hashes.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ildfv.datasets.identity import hashed
from ildfv.datasets.image_files import IMAGE
from ildfv.datasets.label_slices import label_slices
from ildfv.datasets.lung_masks import read_lung_mask
from ildfv.datasets.measure import labelled, measured, unlabelled
from ildfv.datasets.records import Scan
from ildfv.datasets.slice_store import ScanSlices, write_scan
from ildfv.errors import InputError, MissingPackageError, explained, linked
from ildfv.patterns import labelled_slices
from ildfv.scans.dicom import read_series
from ildfv.scans.geometry import MAX_RESAMPLED_TILT, MAX_TILT, Geometry
from ildfv.scans.image_lungs import image_lungs
from ildfv.scans.images import read_image
from ildfv.scans.labels import Codes
from ildfv.scans.libraries import format_error, quiet
from ildfv.scans.lungs import MIN_LUNG_AREA, check_lung, lung_at_border, lung_mask
from ildfv.scans.preparation import PLAIN, Preparation, applied
from ildfv.scans.prepared_lungs import LUNGMASK, scan_lungs
from ildfv.scans.resample import must_resample, resampled
from ildfv.scans.series_slices import FractionalHounsfieldError, SeriesSlices
from ildfv.scans.technique import UNKNOWN, Technique
from ildfv.scans.volume import Volume
from ildfv.scans.volumefiles import read_file
from ildfv.scans.windows import GRID
from ildfv.store.parts import Parts, Row
from ildfv.streaming.prefetch import prefetch

PHANTOM = "PHANTOM"  # prefix of the PatientID of a generated or physical phantom


@dataclass(frozen=True)
class Task:
    """A scan to convert, with the settings of the conversion."""

    scan: Scan
    codes: Codes | None
    salt: str
    store: Path  # folder of the stored parts
    out: Path  # folder that the new part is written to
    key: str
    same_slices: bool = False  # the stored part was made from another file, so only equal slices may replace it
    unlabelled_is_negative: bool = False
    hu: bool = False  # whether to store HU as well
    preparation: Preparation = PLAIN
    sha256: str = ""  # checksum of the part that the new part replaces, if both have the same key


@dataclass(frozen=True)
class Outcome:
    """The result of a task: a row for the manifest, or the reason why the scan has none."""

    row: Row | None = None
    labelled_slices: int = 0
    resampled: str = ""  # as in the part, which the parent process then need not open
    changes: str = ""
    reason: str = ""
    kept: bool = False  # the stored part and its row are kept


def convert_scan(task: Task) -> Outcome:
    """Converts one scan, writes its part and returns the outcome. A faulty scan gives an outcome with a reason."""
    try:
        with quiet():
            options = {"unlabelled_is_negative": task.unlabelled_is_negative, "hu": task.hu}
            scan = scan_slices(task.scan, task.codes, task.salt, preparation=task.preparation, **options)
        if task.same_slices and _keeps_labels(task, scan):
            return Outcome(kept=True)
    except (InputError, MissingPackageError) as error:
        return Outcome(reason=explained(error))
    except MemoryError:
        return Outcome(reason=linked("must fit in memory, got MemoryError", "out-of-memory"))
    except Exception as error:  # one scan must not end the run; the reason includes the line of code
        where = traceback.extract_tb(error.__traceback__)[-1]
        return Outcome(reason=f"unexpected {format_error(error)} ({Path(where.filename).name}:{where.lineno})")
    row = write_scan(task.out, scan, key=task.key)
    if task.sha256 and row.sha256 != task.sha256:
        row = _restored(task, scan) or write_scan(task.out, scan, key=task.key)
    return Outcome(row, labelled_slices(scan.counts), scan.resampled, scan.changes)


def _restored(task: Task, scan: ScanSlices) -> Row | None:
    """The part as an earlier version wrote it, if the replaced part is of an earlier version; otherwise None.

    Earlier versions stored neither checksums nor the grid, and the oldest also lacked the technique. If the new part
    has the same bytes as the replaced part, encodings and models of the workspace remain valid.
    """
    without_grid = replace(scan, grid=GRID)
    for earlier in (without_grid, replace(without_grid, technique=UNKNOWN)):
        row = write_scan(task.out, earlier, key=task.key, checksums=False)
        if row.sha256 == task.sha256:
            return row
    return None


def scan_slices(
    scan: Scan,
    codes: Codes | None,
    salt: str,
    *,
    unlabelled_is_negative: bool = False,
    hu: bool = False,
    preparation: Preparation = PLAIN,
) -> ScanSlices:
    """The slices of one scan, read and checked.

    A slice with lung is unlabelled in three cases: there are no codes; the scan has no label map; or the label maps
    mark neither healthy lung nor a pattern on the slice, because often only some slices of a scan are annotated. With
    `unlabelled_is_negative`, the slice counts as one without patterns in the third case.

    hu: whether to keep HU as well. preparation: options that change the HU of the scan. Raises `InputError` if a file
    is invalid or a check fails.
    """
    if scan.dicom is not None and not must_resample(scan.geometry) and preparation.is_default:
        slices = SeriesSlices(scan.dicom)
        source = Source(slices, slices.geometry, slices.geometry, technique=scan.dicom.technique)
        try:
            return _stored_slices(scan, source, codes, salt, unlabelled_is_negative, hu)
        except FractionalHounsfieldError:
            pass  # only the whole scan shows whether its HU are rounded
    source = _whole_scan(scan, preparation)
    stored = _stored_slices(scan, source, codes, salt, unlabelled_is_negative, hu)
    return replace(stored, preparation=preparation)


@dataclass(frozen=True)
class Source:
    """The slices of a scan in HU, in canonical order."""

    slices: np.ndarray | SeriesSlices
    grid: Geometry  # of the slices
    stored: Geometry  # the grid of the scan on disk, which its label maps have
    onto_grid: Callable[[np.ndarray, int], np.ndarray] | None = None  # resamples label maps; None: the grids are equal
    resampled: str = ""  # description of the resampling
    changes: str = ""  # description of what the preparation changed
    lungs: np.ndarray | None = None  # lung masks computed by lungmask
    technique: Technique = UNKNOWN  # without the HU of air


def _whole_scan(scan: Scan, preparation: Preparation) -> Source:
    read = read_volume(scan)
    volume, onto_even_grid, how = resampled(read)
    volume, onto_common_grid, changes = applied(volume, preparation)

    def onto_grid(labels: np.ndarray, outside: int) -> np.ndarray:
        return onto_common_grid(onto_even_grid(labels, outside), outside)

    lungs = None
    if scan.mask is None and preparation.lungs == LUNGMASK:
        lungs = scan_lungs(volume.hu)
        check_lung(np.count_nonzero(lungs, axis=(1, 2)), volume.pixel_area)
    changed = volume.geometry is not read.geometry
    return Source(
        volume.hu,
        volume.geometry,
        read.geometry,
        onto_grid if changed else None,
        how,
        "; ".join(changes),
        lungs,
        read.technique,
    )


def _stored_slices(
    scan: Scan, source: Source, codes: Codes | None, salt: str, unlabelled_is_negative: bool, hu: bool
) -> ScanSlices:
    m, area = len(source.slices), source.grid.pixel_area
    masks = source.lungs
    if scan.mask is not None:
        masks = read_lung_mask(scan.mask, scan.kind, source.stored)
        masks = masks if source.onto_grid is None else source.onto_grid(masks, 0)
    rule = image_lungs if scan.kind == IMAGE else lung_mask

    def lung_of(z: int, slice_: np.ndarray) -> np.ndarray:
        return rule(slice_, area) if masks is None else masks[z]

    keeps_masks = masks is not None or scan.kind == IMAGE
    # Files are read in a thread while earlier slices are processed.
    found = measured(prefetch(source.slices), m, lung_of, pixel_area=area, keep_masks=keeps_masks, keep_hu=hu)
    if not keeps_masks and found.lung.max() * area < MIN_LUNG_AREA:
        check_lung(found.lung, area, np.array([lung_at_border(slice_, area) for slice_ in source.slices]))
    labels = unlabelled(m)
    if scan.labels and codes is not None:
        maps = label_slices(scan, source.stored, codes, source.onto_grid)
        labels = labelled(maps, found.lung, unlabelled_is_negative=unlabelled_is_negative)
    return ScanSlices(
        images=found.images,
        labels=labels.labels,
        counts=labels.counts,
        lung=found.lung,
        healthy=labels.healthy,
        density=found.density,
        lung_masks=found.lung_masks,
        hu=found.hu,
        positions=source.grid.positions,
        patient=hashed(scan.patient, salt),
        series=hashed(scan.series, salt),
        labelled=labels.any,
        pixel_area=area,
        grid=max(source.grid.shape[1:]),
        phantom=_is_phantom(scan),
        grey=scan.grey,
        given_masks=scan.mask is not None,
        resampled=source.resampled,
        changes=source.changes,
        technique=replace(source.technique, air=found.air),
    )


def _is_phantom(scan: Scan) -> bool:
    """Whether the patient is a phantom. The PatientID is compared too, because --patient-from may replace it."""
    names = (scan.patient, "" if scan.dicom is None else scan.dicom.patient)
    return any(name.upper().startswith(PHANTOM) for name in names)


def _keeps_labels(task: Task, scan: ScanSlices) -> bool:
    """Whether the stored part is kept because only it has labels. Raises `InputError` if the slices differ."""
    with Parts(task.store).open(scan.series) as stored:
        if not np.array_equal(stored["images"][()], scan.images):
            raise InputError(
                f"the path {task.scan.series} below the input folder must be unique, got the path of another scan "
                "prepared earlier: rename the folder or file, or prepare it into another workspace"
            )
        return task.codes is None and bool(stored.attrs["labelled"])


def read_volume(scan: Scan) -> Volume:
    """The scan in Hounsfield units, on its own grid. Raises `InputError` if a file is invalid."""
    if scan.dicom is not None:
        return replace(read_series(scan.dicom), patient_id=scan.patient, series_id=scan.series)
    if scan.grey is not None:
        return read_image(scan.source, scan.grey, patient_id=scan.patient, series_id=scan.series)
    tilt = MAX_RESAMPLED_TILT if must_resample(scan.geometry) else MAX_TILT
    return read_file(scan.source, scan.kind, patient_id=scan.patient, series_id=scan.series, max_tilt=tilt)
