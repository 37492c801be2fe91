"""Predictions for many scans: each scan gives a prediction or a reason, and finished scans are skipped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from ildfv.datasets.convert import read_volume
from ildfv.datasets.discovery import discover
from ildfv.datasets.records import Discovery, Scan
from ildfv.errors import InputError, check
from ildfv.inference.outputs import ANSWER, write_prediction
from ildfv.inference.predict import choose, predict_volume, pseudonym
from ildfv.inference.prediction import Prediction
from ildfv.inference.predictor import Predictor
from ildfv.progress import SILENT, Progress
from ildfv.scans.libraries import quiet


class Delivery(Protocol):
    """What happens with a prediction besides the files in --out."""

    def finish(self, scan: Scan, checksum: str) -> bool:
        """Completes what an earlier run with this predictor has prepared. False: the prediction is needed again.

        Raises InputError if a prediction of this scan cannot be delivered.
        """

    def deliver(self, prediction: Prediction, scan: Scan) -> None:
        """Delivers the prediction. InputError: it could not be delivered."""


def predict_all(
    sources: Sequence[Path],
    predictor: Predictor | Path,
    *,
    out: Path | None = None,
    series: str | None = None,
    device: str = "cpu",
    delivery: Delivery | None = None,
    progress: Progress = SILENT,
) -> tuple[list[dict], list[dict]]:
    """Predictions as in prediction.json, and failures as {"source", "reason"}, for all scans in `sources`.

    A source with one patient is one scan: `series`, or the series with the most slices. In a source with several
    patients every series is a scan. out: the folder in which a folder per scan is written. delivery: what else happens
    with each prediction.
    """
    loaded = predictor if isinstance(predictor, Predictor) else Predictor.load(predictor, device=device)
    answered, failed = [], []
    for source in sources:
        try:
            jobs = _jobs(source, series)
        except InputError as error:
            failed.append({"source": str(source), "reason": str(error)})
            continue
        for scan, notes in jobs:
            try:
                answered.append(_answer(loaded, scan, notes, out, delivery, progress))
            except InputError as error:
                failed.append({"source": str(scan.source), "reason": str(error)})
    return answered, failed


def _jobs(source: Path, series: str | None) -> list[tuple[Scan, list[str]]]:
    """The scans of a source with notes on their choice."""
    found: Discovery = discover(source, labels=False, workers=1)
    if len({scan.patient for scan in found.scans}) > 1 and series is None:
        return [(scan, []) for scan in found.scans]
    return [choose(found, series, source)]


def _answer(
    predictor: Predictor,
    scan: Scan,
    notes: list[str],
    out: Path | None,
    delivery: Delivery | None,
    progress: Progress,
) -> dict:
    name = pseudonym(scan)
    delivered = delivery is None or delivery.finish(scan, predictor.checksum)
    finished = None if out is None else out / name / ANSWER
    if finished is not None and finished.exists():
        answer = json.loads(finished.read_text(encoding="utf-8"))
        same = answer.get("predictor", {}).get("checksum") == predictor.checksum
        check(same, f"{finished} was written with another predictor: use another --out")
        if delivered:
            progress.note(f"{name}: finished already")
            return answer
    progress.note(f"{name}: {scan.geometry.shape[0]} slices")
    with quiet():
        volume = read_volume(scan)
    maps = out is not None or not delivered
    prediction = predict_volume(predictor, volume, scan=name, notes=notes, contributions=maps)
    if out is not None:
        write_prediction(out / name, prediction)
    if delivery is not None and not delivered:
        delivery.deliver(prediction, scan)
    return prediction.to_dict()
