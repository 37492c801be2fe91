"""The prediction for a scan on disk: reads and checks the scan, prepares its slices and scores them with every head."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ildfv.datasets.convert import read_volume
from ildfv.datasets.lung_masks import read_lung_mask
from ildfv.datasets.records import Scan
from ildfv.errors import check
from ildfv.inference.batch import SliceBatch
from ildfv.inference.chosen_series import choose, identity_of
from ildfv.inference.cnn_methods import CnnMethod
from ildfv.inference.given_masks import check_masks, lung_notes
from ildfv.inference.head_answers import head_answer, shares_of
from ildfv.inference.input import check_kind, notes_on_source, scans_in
from ildfv.inference.methods import methods_paragraph
from ildfv.inference.prediction import Prediction
from ildfv.inference.prepared import lung_masks, prepared
from ildfv.inference.pseudonym import pseudonym
from ildfv.inference.reliability import statements
from ildfv.inference.slice_predictor import SlicePredictor
from ildfv.progress import SILENT, Progress
from ildfv.scans.libraries import quiet
from ildfv.scans.preparation import applied
from ildfv.scans.volume import Volume
from ildfv.store.atomic import sha256


def predict_scan(
    predictor: SlicePredictor,
    path: Path,
    *,
    series: str | None = None,
    lung_mask: Path | None = None,
    contributions: bool = True,
    keep_identity: bool = False,
) -> Prediction:
    """The prediction for the scan at `path`.

    Parameters
    ----------
    predictor : SlicePredictor
        The predictor.
    path : path
        A DICOM folder, or a DICOM, NIfTI, NRRD or MetaImage file; for a predictor trained on images, one image.
    series : str, optional
        The series to use if there are several: its number in the message that lists the series, or its
        SeriesInstanceUID. By default the series with the most slices is used.
    lung_mask : path, optional
        The user's lung mask of the scan (`datasets.lung_masks`).
    contributions : bool
        Whether to compute the contribution maps of the primary head or, if that is not a Fisher head, of the first
        Fisher head.
    keep_identity : bool
        Whether the prediction contains the identifiers of the scan.

    Raises
    ------
    InputError
        There is no readable CT scan, there are several patients, the series is unknown, the lung mask cannot be used,
        no slice shows lung, or the scan fails another check.
    """
    grey = predictor.info.preparation.grey
    found = scans_in(path, grey)
    check_kind(found, path, grey)
    if grey is not None:
        rule = f"{path} must be one image, got {len(found.scans)}: use `ildfv predict` for a folder"
        check(len(found.scans) == 1, rule)
    scan, notes = choose(found, series, path)
    if lung_mask is not None:
        scan = replace(scan, mask=lung_mask)
    identity = identity_of(scan, str(scan.source)) if keep_identity else None
    return predicted(predictor, scan, notes, contributions=contributions, identity=identity)


def predicted(
    predictor: SlicePredictor,
    scan: Scan,
    notes: list[str],
    *,
    contributions: bool,
    identity: dict[str, str] | None = None,
    cnn_maps: CnnMethod | None = None,
    progress: Progress = SILENT,
) -> Prediction:
    """The prediction for a scan that `discover` found.

    scan: the scan, whose field `mask` is the file of the user's lung masks, if there is one. The other parameters are
    described in `predict_volume`. InputError: the scan or its mask cannot be read, or as for `predict_volume`.
    """
    check_masks(predictor, scan.mask)
    with quiet():
        volume = read_volume(scan)
        masks = None if scan.mask is None else read_lung_mask(scan.mask, scan.kind, volume.geometry)
    return predict_volume(
        predictor,
        volume,
        scan=pseudonym(scan),
        notes=[*notes, *notes_on_source(scan)],
        masks=masks,
        lung_mask=None if scan.mask is None else sha256(scan.mask),
        contributions=contributions,
        identity=identity,
        cnn_maps=cnn_maps,
        progress=progress,
    )


def predict_volume(
    predictor: SlicePredictor,
    volume: Volume,
    *,
    scan: str,
    notes: list[str] | None = None,
    masks: np.ndarray | None = None,
    lung_mask: str | None = None,
    contributions: bool = True,
    identity: dict[str, str] | None = None,
    cnn_maps: CnnMethod | None = None,
    progress: Progress = SILENT,
) -> Prediction:
    """The prediction for a volume in Hounsfield units.

    scan: pseudonym of the scan. notes: notes that precede those on the preparation and the lung. masks: the user's lung
    masks on the grid of the volume, bool (m, rows, columns). lung_mask: SHA-256 of the file of these masks. identity:
    identifiers to include in the prediction. cnn_maps: the method for maps of the outputs of the network, if they are
    to be computed. The other parameters are described in `predict_scan`. InputError: no slice shows lung, the volume
    cannot be prepared, or there is no CNN head for `cnn_maps`. MissingPackageError: `cnn_maps` needs Captum.
    """
    has_size = predictor.info.preparation.grey is None  # the pixel size of images is unknown
    cnn_head = None if cnn_maps is None else predictor.check_cnn_maps(cnn_maps).name
    preparation, scan_grid = predictor.info.preparation.options, volume.geometry
    volume, onto_grid, changes = applied(volume, preparation)
    masks = None if masks is None else onto_grid(masks, 0)
    m, area = len(volume.hu), volume.paper_pixel_area
    scores = {head.name: np.empty((m, len(predictor.patterns))) for head in predictor.info.heads}

    def score(rows: slice, batch: SliceBatch, inputs: dict[str, np.ndarray]) -> None:
        for name, found in predictor.batch_scores(batch, inputs):
            scores[name][rows] = found

    slices = prepared(
        volume,
        predictor.inputs,
        hounsfield=predictor.reads_hounsfield,
        masks=lung_masks(volume, preparation.lungs, masks, is_image=not has_size),
        are_given=masks is not None,
        batches=predictor.batches(m),
        then=score,
    )
    batch, images = slices.batch, slices.batch.images
    explained = predictor.explained if contributions else None
    given = {"hu": batch.hu, "lung": batch.lung}
    maps = None if explained is None else predictor.contributions(images, area, explained, dtype=np.float32, **given)
    info = predictor.info
    answers = {
        h.name: head_answer(h, predictor.patterns, scores[h.name], volume, slices.lung, has_size=has_size)
        for h in info.heads
    }
    if maps is not None and explained is not None:
        answers[explained] = replace(answers[explained], shares=shares_of(answers[explained], maps, batch))
    return Prediction(
        scan=scan,
        patterns=predictor.patterns,
        positions=volume.positions.astype(float),
        lung=slices.lung,
        heads={name: answers[name] for name in sorted(answers, key=lambda name: name != info.primary)},
        statements=statements(predictor, volume, batch, slices.lung, has_size=has_size),
        predictor={
            "checksum": predictor.checksum,
            "data": info.training.get("data"),
            "ildfv": info.versions.get("ildfv"),
            "heads": [head.name for head in info.heads],
            "training": info.training,
        },
        notes=[*(notes or []), *changes, *lung_notes(info.training, preparation.lungs, given=masks is not None)],
        images=images,
        geometry=scan_grid,
        stored=volume.stored,
        training_pixel=info.reference.pixel_side if has_size else None,
        pixel_size=preparation.pixel_size,
        lung_masks=batch.lung,
        lung_mask=lung_mask,
        has_size=has_size,
        contributions=maps,
        contributions_head=explained,
        limited=explained is not None and predictor.limited(explained),
        cnn_maps=None
        if cnn_maps is None
        else predictor.cnn_maps(images, cnn_maps, dtype=np.float32, progress=progress),
        cnn_maps_head=cnn_head,
        cnn_method=cnn_maps,
        methods=methods_paragraph(info, predictor.checksum, cnn_maps),
        identity=identity,
    )
