"""The prediction for a scan on disk, which is read, checked, prepared like training slices and scored by every head."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ildfv.datasets.convert import read_volume
from ildfv.datasets.discovery import discover
from ildfv.datasets.records import Discovery, Scan
from ildfv.errors import InputError, check
from ildfv.inference.prediction import HeadAnswer, Prediction
from ildfv.inference.reliability import statements
from ildfv.inference.schema import Head
from ildfv.scans.libraries import quiet
from ildfv.scans.lungs import check_lung, lung_mask
from ildfv.scans.volume import Volume
from ildfv.scans.windows import GRID, SIZE, WINDOWS, windowed

if TYPE_CHECKING:
    from ildfv.inference.predictor import Predictor

PSEUDONYM_DIGITS = 10


def predict_scan(
    predictor: Predictor, path: Path, *, series: str | None = None, contributions: bool = True
) -> Prediction:
    """The prediction for the scan at `path`.

    Parameters
    ----------
    path : path
        A DICOM folder, or a DICOM, NIfTI or NRRD file.
    series : str, optional
        SeriesInstanceUID to use if there are several; by default the one with most slices.
    contributions : bool
        Whether to compute contribution maps with the first Fisher head.

    Raises
    ------
    InputError
        No readable CT scan, several patients, no lung, a scan that breaks a rule.
    """
    found = discover(path, labels=False, workers=1)
    scan, notes = choose(found, series, path)
    with quiet():
        volume = read_volume(scan)
    return predict_volume(predictor, volume, scan=pseudonym(scan), notes=notes, contributions=contributions)


def predict_volume(
    predictor: Predictor, volume: Volume, *, scan: str, notes: list[str] | None = None, contributions: bool = True
) -> Prediction:
    """The prediction for a volume in Hounsfield units."""
    m = len(volume.hu)
    images = np.empty((m, len(WINDOWS), SIZE, SIZE), np.uint8)
    lung = np.empty(m)
    for z in range(m):
        images[z] = windowed(volume.hu[z])
        lung[z] = np.count_nonzero(lung_mask(volume.hu[z], volume.pixel_area))
    check_lung(lung, volume.pixel_area)
    scores = predictor.scores(images, volume.pixel_area)
    heads = {head.name: _answer(predictor, head, scores[head.name], volume) for head in predictor.info.heads}
    fisher = predictor.explained
    maps = predictor.contributions(images, volume.pixel_area, fisher) if contributions and fisher else None
    return Prediction(
        scan=scan,
        patterns=predictor.patterns,
        positions=volume.positions.astype(float),
        lung=lung * volume.pixel_area / 100,
        heads=heads,
        statements=statements(predictor, volume, images),
        predictor={
            "checksum": predictor.checksum,
            "data": predictor.info.training.get("data"),
            "ildfv": predictor.info.versions.get("ildfv"),
            "heads": [head.name for head in predictor.info.heads],
        },
        notes=notes or [],
        images=images,
        geometry=volume.geometry,
        contributions=maps,
        contributions_head=fisher,
    )


def choose(found: Discovery, series: str | None, path: Path) -> tuple[Scan, list[str]]:
    """The scan to predict and notes on the choice. InputError: none, several patients, an unknown series."""
    if not found.scans:
        reasons = [unused.reason for unused in [*found.quarantined, *found.ignored]]
        got = reasons[0] if reasons else "no file that can be read"
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        raise InputError(f"{path} must contain a CT scan, got none: {got}{more}")
    patients = {scan.patient for scan in found.scans}
    check(
        len(patients) == 1 or series is not None,
        f"{path} must contain one patient, got {len(patients)}: predict each alone",
    )
    if series is not None:
        matching = [scan for scan in found.scans if scan.series == series]
        check(len(matching) == 1, f"series must be one of {', '.join(s.series for s in found.scans)}, got {series}")
        return matching[0], []
    ranked = sorted(found.scans, key=lambda scan: (-scan.geometry.shape[0], scan.series))
    chosen = ranked[0]
    if len(ranked) == 1:
        return chosen, []
    sizes = ", ".join(str(scan.geometry.shape[0]) for scan in ranked)
    return chosen, [
        f"{len(ranked)} series with {sizes} slices: the one with most slices is used (--series chooses another)"
    ]


def pseudonym(scan: Scan) -> str:
    """A name for the scan that does not contain its identifiers, the same for every prediction of it."""
    return "scan-" + hashlib.sha256(scan.series.encode()).hexdigest()[:PSEUDONYM_DIGITS]


def _answer(predictor: Predictor, head: Head, scores: np.ndarray, volume: Volume) -> HeadAnswer:
    decisions = predictor.decisions(head)
    # Counts refer to the paper's 512×512 grid, which covers the same square as the 224×224 network input.
    pixels = np.full(scores.shape, np.nan)
    if head.target == "counts":
        pixels = np.maximum(scores, 0) * head.threshold * (max(volume.hu.shape[1:]) / GRID) ** 2
    return HeadAnswer(
        name=head.name,
        scores=scores,
        probability=decisions.probability(scores),
        presence=decisions.predict(scores),
        pixels=pixels,
        area=pixels * volume.pixel_area / 100,
        thresholds=list(head.thresholds),
        best=scores.argmax(axis=0),
    )
