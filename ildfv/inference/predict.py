"""The prediction for a scan on disk: reads and checks the scan, prepares its slices and scores them with every head."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ildfv.counted import counted
from ildfv.datasets.convert import read_volume
from ildfv.datasets.records import Discovery, Scan
from ildfv.errors import InputError, check
from ildfv.inference.batch import SliceBatch
from ildfv.inference.cnn_methods import CnnMethod
from ildfv.inference.head_answers import head_answer, shares_of
from ildfv.inference.input import check_kind, notes_on_image, scans_in
from ildfv.inference.methods import methods_paragraph
from ildfv.inference.prediction import Prediction
from ildfv.inference.prepared import lung_masks, prepared
from ildfv.inference.pseudonym import pseudonym
from ildfv.inference.reliability import statements
from ildfv.progress import SILENT, Progress
from ildfv.scans.libraries import quiet
from ildfv.scans.preparation import applied
from ildfv.scans.prepared_lungs import RULE
from ildfv.scans.volume import Volume

if TYPE_CHECKING:
    from ildfv.inference.predictor import Predictor

LISTED = 5  # maximum number of series in a message


def predict_scan(
    predictor: Predictor,
    path: Path,
    *,
    series: str | None = None,
    contributions: bool = True,
    keep_identity: bool = False,
) -> Prediction:
    """The prediction for the scan at `path`.

    Parameters
    ----------
    path : path
        A DICOM folder, or a DICOM, NIfTI or NRRD file.
    series : str, optional
        The series to use if there are several: its number in the message that lists the series, or its
        SeriesInstanceUID. By default the series with the most slices is used.
    contributions : bool
        Whether to compute contribution maps with the primary head, or the first Fisher head.
    keep_identity : bool
        Whether the prediction contains the identifiers of the scan.

    Raises
    ------
    InputError
        There is no readable CT scan, there are several patients, no slice shows lung, or the scan fails a check.
    """
    grey = predictor.info.preparation.grey
    found = scans_in(path, grey)
    check_kind(found, path, grey)
    if grey is not None:
        rule = f"{path} must be one image, got {len(found.scans)}: use `ildfv predict` for a folder"
        check(len(found.scans) == 1, rule)
    scan, notes = choose(found, series, path)
    identity = identity_of(scan, str(scan.source)) if keep_identity else None
    return predicted(predictor, scan, notes, contributions=contributions, identity=identity)


def predicted(
    predictor: Predictor,
    scan: Scan,
    notes: list[str],
    *,
    contributions: bool,
    identity: dict[str, str] | None = None,
    cnn_maps: CnnMethod | None = None,
    progress: Progress = SILENT,
) -> Prediction:
    """The prediction for a scan that `discover` found. The parameters are described in `predict_volume`."""
    with quiet():
        volume = read_volume(scan)
    return predict_volume(
        predictor,
        volume,
        scan=pseudonym(scan),
        notes=[*notes, *notes_on_image(scan)],
        contributions=contributions,
        identity=identity,
        cnn_maps=cnn_maps,
        progress=progress,
    )


def predict_volume(
    predictor: Predictor,
    volume: Volume,
    *,
    scan: str,
    notes: list[str] | None = None,
    contributions: bool = True,
    identity: dict[str, str] | None = None,
    cnn_maps: CnnMethod | None = None,
    progress: Progress = SILENT,
) -> Prediction:
    """The prediction for a volume in Hounsfield units.

    scan: pseudonym of the scan. identity: identifiers to include in the prediction. cnn_maps: the method for maps of
    the outputs of the network, if they are to be computed. The other parameters are described in `predict_scan`.
    """
    has_size = predictor.info.preparation.grey is None  # the pixel size of images is unknown
    cnn_head = None if cnn_maps is None else predictor.check_cnn_maps(cnn_maps).name
    preparation, scan_grid = predictor.info.preparation.options, volume.geometry
    volume, _, changes = applied(volume, preparation)
    m, area = len(volume.hu), volume.pixel_area
    scores = {head.name: np.empty((m, len(predictor.patterns))) for head in predictor.info.heads}

    def score(rows: slice, batch: SliceBatch, inputs: dict[str, np.ndarray]) -> None:
        for name, found in predictor.batch_scores(batch, inputs):
            scores[name][rows] = found

    slices = prepared(
        volume,
        predictor.inputs,
        hounsfield=predictor.reads_hounsfield,
        masks=lung_masks(volume, preparation.lungs, is_image=not has_size),
        batches=predictor.batches(m),
        then=score,
    )
    batch, images = slices.batch, slices.batch.images
    explained = predictor.explained if contributions else None
    given = {"hu": batch.hu, "lung": batch.lung}
    maps = None if explained is None else predictor.contributions(images, area, explained, dtype=np.float32, **given)
    info = predictor.info
    answers = {h.name: head_answer(h, scores[h.name], volume, slices.lung, has_size=has_size) for h in info.heads}
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
        notes=[*(notes or []), *changes, *_lung_notes(info.training, preparation.lungs)],
        images=images,
        geometry=scan_grid,
        stored=volume.stored,
        pixel_size=preparation.pixel_size,
        lung_masks=batch.lung,
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


def choose(found: Discovery, series: str | None, path: Path) -> tuple[Scan, list[str]]:
    """(the scan to predict, notes on the choice).

    InputError: there is no scan, there are several patients, or the series is unknown.
    """
    if not found.scans:
        reasons = [unused.reason for unused in [*found.quarantined, *found.ignored]]
        got = reasons[0] if reasons else "no file that can be read"
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        raise InputError(f"{path} must contain a CT scan, got none: {got}{more}")
    patients = {scan.patient for scan in found.scans}
    named = any(scan.series == series for scan in found.scans)
    check(
        len(patients) == 1 or named,
        f"{path} must contain one patient, got {len(patients)}: give the folder of one patient, or --series with a "
        "SeriesInstanceUID",
    )
    ranked = sorted(found.scans, key=lambda scan: (-scan.geometry.shape[0], scan.series))
    if series is not None:
        matching = [scan for scan in ranked if scan.series == series]
        if series.isdecimal() and 1 <= int(series) <= len(ranked):
            matching = [ranked[int(series) - 1]]
        rule = f"series must be a number from 1 to {len(ranked)} or the SeriesInstanceUID of a series in {path}"
        check(len(matching) == 1, f"{rule}, got {series}. The series are {_listed(ranked)}")
        return matching[0], []
    if len(ranked) == 1:
        return ranked[0], []
    return ranked[0], [
        f"{len(ranked)} series were found: {_listed(ranked)}. Series 1, with the most slices, is used; choose another "
        "with --series NUMBER"
    ]


def _listed(scans: list[Scan]) -> str:
    """Text such as "1: 300 slices, 1.25 mm apart; 2: 60 slices, 5 mm apart"."""
    sizes = [(scan.geometry.shape[0], scan.geometry.spacing[0]) for scan in scans[:LISTED]]
    named = [f"{i}: {counted(n, 'slice')}, {mm:.3g} mm apart" for i, (n, mm) in enumerate(sizes, start=1)]
    return "; ".join(named) + (f"; and {len(scans) - LISTED} more" if len(scans) > LISTED else "")


def identity_of(scan: Scan, source: str) -> dict[str, str]:
    """The identifiers of a scan, which `keep_identity` adds to a prediction. source: path or address of the scan."""
    study = "" if scan.dicom is None else scan.dicom.study
    return {"patient": scan.patient, "study": study, "series": scan.series, "source": source}


def _lung_notes(training: dict, lungs: str) -> list[str]:
    """A note if the lung is not found by the built-in rule on the scan or on the training slices."""
    if lungs != RULE:
        return [f"the lung was found by {lungs}, as on the training slices"]
    given = training.get("given_lung_masks")
    if given:
        return [f"{given} training slices have given lung masks; the lung of this scan was found by the built-in rule"]
    return []
