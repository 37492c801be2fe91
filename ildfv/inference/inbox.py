"""Predictions for many scans. A failure of one scan is reported, finished scans are skipped, and the run continues."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ildfv.datasets.discovery import discover
from ildfv.datasets.records import Discovery, Scan
from ildfv.errors import InputError, MissingPackageError, check, explained, linked
from ildfv.inference.anonymous import without_names
from ildfv.inference.outputs import ANSWER, write_prediction
from ildfv.inference.predict import choose, predicted
from ildfv.inference.prediction import Prediction
from ildfv.inference.predictor import Predictor
from ildfv.inference.pseudonym import pseudonym
from ildfv.progress import SILENT, Progress
from ildfv.scans.archives import unpacked
from ildfv.scans.libraries import format_error


class Delivery(Protocol):
    """Delivery of predictions in addition to the files in --out."""

    def finish(self, scan: Scan, checksum: str) -> bool:
        """Completes a delivery that an earlier run with this predictor prepared.

        checksum: of the predictor. Returns False if there is no such delivery; the scan must then be predicted again.
        InputError: a prediction of this scan cannot be delivered.
        """

    def deliver(self, prediction: Prediction, scan: Scan) -> None:
        """Delivers the prediction. InputError: the delivery failed."""


@dataclass(frozen=True)
class Options:
    """The options of `predict_all`.

    out: folder in which a folder per scan is written; None: no files. series: see `predict.choose`. delivery: receives
    each prediction. keep_identity: whether predictions contain the identifiers of the scans and error messages contain
    the names of their files. fresh: whether finished scans are predicted again. cam: whether Grad-CAM maps are written.
    """

    out: Path | None = None
    series: str | None = None
    delivery: Delivery | None = None
    keep_identity: bool = False
    fresh: bool = False
    cam: bool = False


def predict_all(
    sources: Sequence[Path],
    predictor: Predictor | Path,
    *,
    out: Path | None = None,
    series: str | None = None,
    device: str = "cpu",
    weights: Sequence[Path] = (),
    delivery: Delivery | None = None,
    keep_identity: bool = False,
    fresh: bool = False,
    cam: bool = False,
    progress: Progress = SILENT,
) -> tuple[list[dict], list[dict]]:
    """(predictions, failures) for all scans in `sources`: the content of prediction.json, and {"source", "reason"}.

    From a source with one patient, one series is predicted: `series`, or the series with the most slices. From a source
    with several patients, every series is predicted. A source may be a zip archive. The other parameters are those of
    `Options` and `Predictor.load`.
    """
    loaded = (
        predictor if isinstance(predictor, Predictor) else Predictor.load(predictor, device=device, weights=weights)
    )
    if cam:
        loaded.check_cam()
    options = Options(out, series, delivery, keep_identity, fresh, cam)
    answered: list[dict] = []
    failed: list[dict] = []
    for source in sources:
        _predict_source(loaded, source, options, answered, failed, progress)
    return answered, failed


def _predict_source(
    predictor: Predictor, source: Path, options: Options, answered: list, failed: list, progress: Progress
) -> None:
    """Adds the predictions of one source to `answered` and its failures to `failed`."""
    with _reported(failed, source, source, options), unpacked(source) as folder:
        for scan, notes in jobs(folder, source, options.series):
            with _reported(failed, source, folder, options):
                answered.append(_answer(predictor, scan, notes, options, progress))


@contextmanager
def _reported(failed: list, source: Path, folder: Path, options: Options) -> Iterator[None]:
    """Adds an error to `failed`, as one line, instead of raising it, so that the other scans are predicted.

    source: as given by the user. folder: the folder with the files of the source. Without `keep_identity`, the names of
    these files are removed from the line, because they may identify the patient.
    """
    try:
        yield
    except (InputError, MissingPackageError) as error:
        reason = explained(error)
    except MemoryError:
        reason = linked(
            "the scan must fit in memory, got MemoryError: predict it on a computer with more memory", "out-of-memory"
        )
    except Exception as error:  # one scan must not end the run; the reason names the line of code
        where = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"unexpected {format_error(error)} ({Path(where.filename).name}:{where.lineno})"
    else:
        return
    reason = reason.replace(str(folder), str(source))
    if not options.keep_identity:
        reason = without_names(reason, folder)
    failed.append({"source": str(source), "reason": reason})


def jobs(folder: Path, source: Path, series: str | None) -> list[tuple[Scan, list[str]]]:
    """(scan, notes on the choice) of each scan of a source to predict. folder: the folder with the source's files."""
    found: Discovery = discover(folder, labels=False, workers=1)
    if len({scan.patient for scan in found.scans}) > 1 and series is None:
        return [(scan, []) for scan in found.scans]
    return [choose(found, series, source)]


def _answer(predictor: Predictor, scan: Scan, notes: list[str], options: Options, progress: Progress) -> dict:
    name = pseudonym(scan)
    delivery = options.delivery
    delivered = delivery is None or (delivery.finish(scan, predictor.checksum) and not options.fresh)
    finished = None if options.out is None else options.out / name / ANSWER
    if finished is not None and finished.exists() and not options.fresh:
        answer = json.loads(finished.read_text(encoding="utf-8"))
        same = answer.get("predictor", {}).get("checksum") == predictor.checksum
        check(same, f"{finished} was written with another predictor: give another --out, or replace it with --fresh")
        shown = not options.cam or answer.get("cam_head")
        check(shown, f"{finished} was written without --cam: give another --out, or replace it with --fresh")
        if delivered:
            progress.note(f"{name}: already predicted, skipped")
            return answer
    progress.note(f"{name}: {scan.geometry.shape[0]} slices" + (f"; {notes[0]}" if notes else ""))
    keep = options.keep_identity
    maps = options.out is not None or not delivered
    prediction = predicted(predictor, scan, notes, contributions=maps, keep_identity=keep, cam=options.cam)
    if options.out is not None:
        write_prediction(options.out / name, prediction)
    if delivery is not None and not delivered:
        delivery.deliver(prediction, scan)
    return prediction.to_dict()
