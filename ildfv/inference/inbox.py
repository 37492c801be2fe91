"""Predictions for many scans. Finished scans are skipped. A failed scan is reported and does not end the run."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ildfv.counted import counted
from ildfv.datasets.discovery import discover
from ildfv.datasets.records import Discovery, Scan
from ildfv.errors import InputError, MissingPackageError, check, explained, linked
from ildfv.inference.anonymous import without_names
from ildfv.inference.cnn_methods import GRAD_CAM, CnnMethod
from ildfv.inference.predict import choose, identity_of, predicted
from ildfv.inference.prediction import ANSWER, KIND, Prediction
from ildfv.inference.predictor import Predictor
from ildfv.inference.pseudonym import pseudonym
from ildfv.progress import SILENT, Progress
from ildfv.scans.archives import unpacked
from ildfv.scans.libraries import format_error
from ildfv.store.atomic import read_json
from ildfv.store.lock import writing

FILE_SYSTEM = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)  # errors that may not name a file


class Delivery(Protocol):
    """Delivery of predictions in addition to the files in --out."""

    def finish(self, scan: Scan, checksum: str) -> bool:
        """Completes a delivery that an earlier run with this predictor prepared.

        checksum: checksum of the predictor. Returns False if there is no such delivery. The scan must then be predicted
        again.
        InputError: a prediction of this scan cannot be delivered.
        """

    def deliver(self, prediction: Prediction, scan: Scan) -> None:
        """Delivers the prediction. InputError: the delivery failed."""


@dataclass(frozen=True)
class Options:
    """The options of `predict_all`.

    out: folder in which a folder per scan is written; None: no files. series: see `predict.choose`. delivery: receives
    each prediction. keep_identity: whether predictions contain the identifiers of the scans and error messages contain
    the names of their files. fresh: whether finished scans are predicted again. cnn_maps: the method for maps of the
    outputs of the network, if they are to be written. shown: name of the source in the outputs; None: its path. notes:
    sentences that precede the notes of each prediction.
    """

    out: Path | None = None
    series: str | None = None
    delivery: Delivery | None = None
    keep_identity: bool = False
    fresh: bool = False
    cnn_maps: CnnMethod | None = None
    shown: str | None = None
    notes: Sequence[str] = ()


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
    cnn_maps: CnnMethod | None = None,
    shown: str | None = None,
    notes: Sequence[str] = (),
    progress: Progress = SILENT,
) -> tuple[list[dict], list[dict]]:
    """(predictions, failures) for all scans in `sources`: the content of prediction.json, and {"source", "reason"}.

    From a source with one patient, one series is predicted: `series`, or the series with the most slices. From a source
    with several patients, every series is predicted. A source may be a zip archive. The other parameters are described
    in `Options` and `Predictor.load`.
    """
    loaded = (
        predictor if isinstance(predictor, Predictor) else Predictor.load(predictor, device=device, weights=weights)
    )
    if cnn_maps is not None:
        loaded.check_cnn_maps(cnn_maps)
    options = Options(out, series, delivery, keep_identity, fresh, cnn_maps, shown, notes)
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
                shown = str(scan.source).replace(str(folder), options.shown or str(source), 1)
                answered.append(_answer(predictor, scan, [*options.notes, *notes], shown, options, progress))


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
    except Exception as error:  # one scan must not end the run
        reason = _of_file(error) or _unexpected(error)
    else:
        return
    shown = options.shown or str(source)
    reason = reason.replace(str(folder), shown)
    if not options.keep_identity:
        reason = without_names(reason, folder)
    failed.append({"source": shown, "reason": reason})


def _of_file(error: Exception) -> str | None:
    """The message for an error of a file or of the file system; None for other errors."""
    if not isinstance(error, OSError) or (error.filename is None and error.errno not in FILE_SYSTEM):
        return None
    return f"{error.filename or 'the file system'}: {error.strerror or error}"


def _unexpected(error: Exception) -> str:
    """The message for an unexpected error, with the line of code that raised it."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"unexpected {format_error(error)} ({Path(where.filename).name}:{where.lineno})"


def jobs(folder: Path, source: Path, series: str | None) -> list[tuple[Scan, list[str]]]:
    """(scan, notes on the choice) of each scan of a source to predict. folder: the folder with the source's files."""
    found: Discovery = discover(folder, labels=False, workers=1)
    if len({scan.patient for scan in found.scans}) > 1 and series is None:
        return [(scan, []) for scan in found.scans]
    return [choose(found, series, source)]


def _answer(
    predictor: Predictor, scan: Scan, notes: list[str], source: str, options: Options, progress: Progress
) -> dict:
    name = pseudonym(scan)
    delivery = options.delivery
    delivered = delivery is None or (delivery.finish(scan, predictor.checksum) and not options.fresh)
    finished = None if options.out is None else options.out / name / ANSWER
    if finished is not None and finished.exists() and not options.fresh:
        answer = _finished(finished, predictor, options)
        if delivered:
            progress.note(f"{name}: already predicted, skipped")
            return answer
    m = scan.geometry.shape[0]
    progress.note(f"{name}: {counted(m, 'slice')}" + (f"; {notes[0]}" if notes else ""))
    identity = identity_of(scan, source) if options.keep_identity else None
    maps = options.out is not None or not delivered
    # Another process with the same --out must neither predict this scan nor remove its files.
    with nullcontext() if options.out is None else writing(options.out / name):
        prediction = predicted(
            predictor,
            scan,
            notes,
            contributions=maps,
            identity=identity,
            cnn_maps=options.cnn_maps,
            progress=progress,
        )
        if options.out is not None:
            from ildfv.inference.outputs import write_prediction  # slow import, which scores do not need

            write_prediction(options.out / name, prediction)
    if delivery is not None and not delivered:
        delivery.deliver(prediction, scan)
    return prediction.to_dict()


def _finished(path: Path, predictor: Predictor, options: Options) -> dict:
    """The finished prediction in a file. InputError: it is not a prediction with this predictor and these options."""
    instead = "give another --out, or replace it with --fresh"
    answer = read_json(path)
    known = isinstance(answer, dict) and answer.get("kind") == KIND
    check(known, f"{path} must be a prediction, got another document: {instead}")
    same = answer.get("predictor", {}).get("checksum") == predictor.checksum
    check(same, f"{path} was written with another predictor: {instead}")
    identified = answer.get("identity") is not None
    was = "with" if identified else "without"
    check(identified == options.keep_identity, f"{path} was written {was} --keep-identity: {instead}")
    method = options.cnn_maps
    # Predictions of earlier versions have only `cam_head`.
    stored = answer.get("cnn_maps") or (GRAD_CAM.option if answer.get("cam_head") else None)
    missing = method is not None and method.option != stored
    check(not missing, f"{path} was written without --cnn-maps {method and method.option}: {instead}")
    return answer
