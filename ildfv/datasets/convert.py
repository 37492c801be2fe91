"""Conversion of one scan to stored slices, in a worker process.

The scan is read, checked and windowed, its pattern pixels are counted, and its identifiers are replaced by hashes.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ildfv.datasets.identity import hashed
from ildfv.datasets.image_files import IMAGE
from ildfv.datasets.lung_masks import read_lung_mask
from ildfv.datasets.read_labels import read_labels
from ildfv.datasets.records import Scan
from ildfv.datasets.slice_store import ScanSlices, write_scan
from ildfv.errors import InputError, MissingPackageError, explained, linked
from ildfv.patterns import PATTERNS, UNLABELLED, labelled_slices
from ildfv.scans.density import COLUMNS, density
from ildfv.scans.dicom import read_series
from ildfv.scans.geometry import MAX_RESAMPLED_TILT, MAX_TILT
from ildfv.scans.hounsfield import mean_hounsfield
from ildfv.scans.image_lungs import image_lungs
from ildfv.scans.images import read_image
from ildfv.scans.labels import HEALTHY, INFORMATIVE, MEANINGS, OUTSIDE, Codes, meaning_counts, pattern_labels
from ildfv.scans.libraries import format_error, quiet
from ildfv.scans.lungs import MIN_LUNG_AREA, check_lung, lung_at_border, lung_mask
from ildfv.scans.preparation import PLAIN, Preparation, applied
from ildfv.scans.prepared_lungs import LUNGMASK, scan_lungs
from ildfv.scans.resample import must_resample, resampled
from ildfv.scans.volume import Volume
from ildfv.scans.volumefiles import read_file
from ildfv.scans.windows import SIZE, WINDOWS, nearest, windowed
from ildfv.store.parts import Parts, Row

PHANTOM = "PHANTOM"  # prefix of the patient id of a generated or physical phantom


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


@dataclass(frozen=True)
class Outcome:
    """The result of a task: a row for the manifest, or the reason why the scan has none."""

    row: Row | None = None
    labelled_slices: int = 0
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
    return Outcome(write_scan(task.out, scan, key=task.key), labelled_slices(scan.counts))


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
    `unlabelled_is_negative`, a slice of the third kind shows no pattern. hu: whether to keep HU as well. preparation:
    options that change the HU of the scan.
    """
    source = read_volume(scan)
    volume, onto_even_grid, how = resampled(source)
    volume, onto_common_grid, changes = applied(volume, preparation)

    def onto_grid(labels: np.ndarray, outside: int) -> np.ndarray:
        return onto_common_grid(onto_even_grid(labels, outside), outside)

    m = len(volume.hu)
    lung, densities = np.empty(m, np.int32), np.empty((m, len(COLUMNS)), np.float32)
    masks = None
    if scan.mask is not None:
        masks = onto_grid(read_lung_mask(scan.mask, scan.kind, source.geometry), 0)
    elif preparation.lungs == LUNGMASK:
        masks = scan_lungs(volume.hu)
        check_lung(np.count_nonzero(masks, axis=(1, 2)), volume.pixel_area)
    keeps_masks = masks is not None or scan.kind == IMAGE
    small_masks = np.zeros((m if keeps_masks else 0, SIZE, SIZE), bool)
    for z, slice_ in enumerate(volume.hu):
        if masks is not None:
            mask = masks[z]
        else:
            mask = (image_lungs if scan.kind == IMAGE else lung_mask)(slice_, volume.pixel_area)
        lung[z], densities[z] = np.count_nonzero(mask), density(slice_, mask)
        if keeps_masks:
            small_masks[z] = nearest(mask)
    if not keeps_masks and lung.max() * volume.pixel_area < MIN_LUNG_AREA:
        at_border = np.array([lung_at_border(slice_, volume.pixel_area) for slice_ in volume.hu])
        check_lung(lung, volume.pixel_area, at_border)
    meanings, healthy = None, None
    labelled: np.ndarray = np.zeros(m, bool)
    if scan.labels and codes is not None:
        meanings = onto_grid(read_labels(scan, source.geometry, codes), MEANINGS.index(OUTSIDE))
        voxels = meaning_counts(meanings)  # (m, 7)
        labelled = np.asarray(voxels[:, INFORMATIVE].any(axis=1))
        if unlabelled_is_negative:
            labelled[:] = True
        elif labelled.any():
            labelled |= lung == 0  # without lung there is nothing to label
        if labelled.any():
            healthy = voxels[:, MEANINGS.index(HEALTHY)].astype(np.int32)
            healthy[~labelled] = UNLABELLED
    images = np.empty((m, len(WINDOWS), SIZE, SIZE), np.uint8)
    for z in range(m):  # slice by slice: the float windows of a whole scan take several GB
        images[z] = windowed(volume.hu[z])
    small = np.zeros((m, SIZE, SIZE), np.uint8)
    counts = np.full((m, len(PATTERNS)), UNLABELLED, np.int32)
    if meanings is not None and labelled.any():
        small = pattern_labels(nearest(meanings))  # `nearest` pads with 0, which is the index of "outside"
        counts = voxels[:, [MEANINGS.index(pattern) for pattern in PATTERNS]].astype(np.int32)
        counts[~labelled] = UNLABELLED
    return ScanSlices(
        images=images,
        labels=small,
        counts=counts,
        lung=lung,
        healthy=healthy,
        density=densities,
        lung_masks=small_masks if keeps_masks else None,
        hu=np.stack([mean_hounsfield(slice_) for slice_ in volume.hu]) if hu else None,
        positions=volume.positions,
        patient=hashed(volume.patient_id, salt),
        series=hashed(volume.series_id, salt),
        labelled=bool(labelled.any()),
        pixel_area=volume.pixel_area,
        phantom=_is_phantom(scan),
        resampled=how,
        preparation=preparation,
        changes="; ".join(changes),
    )


def _is_phantom(scan: Scan) -> bool:
    """Whether the patient is a phantom. The PatientID is compared too, because --patient-from may replace it."""
    names = (scan.patient, "" if scan.dicom is None else scan.dicom.patient)
    return any(name.upper().startswith(PHANTOM) for name in names)


def _keeps_labels(task: Task, scan: ScanSlices) -> bool:
    """Whether the stored part is kept because only it has labels. InputError: its slices differ from the scan's."""
    with Parts(task.store).open(scan.series) as stored:
        if not np.array_equal(stored["images"][()], scan.images):
            raise InputError(
                f"the path {task.scan.series} below the input folder must be unique, got the path of another scan "
                "prepared earlier: rename the folder or file, or prepare it into another workspace"
            )
        return task.codes is None and bool(stored.attrs["labelled"])


def read_volume(scan: Scan) -> Volume:
    """The scan in Hounsfield units, on the original grid. InputError: its files violate a rule of their format."""
    if scan.dicom is not None:
        return replace(read_series(scan.dicom), patient_id=scan.patient, series_id=scan.series)
    if scan.grey is not None:
        return read_image(scan.source, scan.grey, patient_id=scan.patient, series_id=scan.series)
    tilt = MAX_RESAMPLED_TILT if must_resample(scan.geometry) else MAX_TILT
    return read_file(scan.source, scan.kind, patient_id=scan.patient, series_id=scan.series, max_tilt=tilt)
