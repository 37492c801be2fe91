"""Predictions for many scans. Finished scans are skipped. A failed scan is reported and does not end the run."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ildfv.counted import counted
from ildfv.datasets.classify import ZIPPED
from ildfv.datasets.lung_masks import assign_masks, check_folder_of_masks
from ildfv.datasets.records import Scan, Unused
from ildfv.errors import InputError, MissingPackageError, check, explained, linked
from ildfv.inference.anonymous import without_names
from ildfv.inference.chosen_series import identity_of, jobs
from ildfv.inference.cnn_methods import GRAD_CAM, CnnMethod
from ildfv.inference.file_position import FilePositions
from ildfv.inference.given_masks import check_masks
from ildfv.inference.input import check_kind, scans_in
from ildfv.inference.predict import predicted
from ildfv.inference.prediction import ANSWER, KIND, Prediction
from ildfv.inference.predictor import Predictor
from ildfv.inference.pseudonym import pseudonym
from ildfv.inference.unanswered import explained_unused, named, notes_on_ignored
from ildfv.progress import SILENT, Progress
from ildfv.scans.archives import is_archive, unpacked
from ildfv.scans.libraries import format_error
from ildfv.store.atomic import read_json, sha256
from ildfv.store.lock import writing

FILE_SYSTEM = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)  # these errors may have no file name


class Delivery(Protocol):
    """Delivery of predictions, for example to a PACS, in addition to the files in --out."""

    def finish(self, scan: Scan, checksum: str) -> bool:
        """Completes the delivery that an earlier run prepared, and returns whether there was one.

        If not, the scan must be predicted again. checksum: checksum of the predictor; deliveries of other predictors
        are not completed. InputError: a prediction of this scan cannot be delivered.
        """

    def deliver(self, prediction: Prediction, scan: Scan) -> None:
        """Delivers the prediction. InputError: the delivery failed."""


@dataclass(frozen=True)
class Options:
    """The options of `predict_all`.

    out: folder in which a folder per scan is written; None: no files. series: see `chosen_series.choose`. delivery:
    receives each prediction. keep_identity: whether predictions contain the identifiers of the scans and error messages
    contain the names of their files. fresh: whether finished scans are predicted again. cnn_maps: the method for maps
    of the outputs of the network, if they are to be written. shown: name of the source in the outputs; None: its path.
    notes: sentences that precede the notes of each prediction. lung_masks: folder of the user's lung masks
    (`datasets.lung_masks`).
    """

    out: Path | None = None
    series: str | None = None
    delivery: Delivery | None = None
    keep_identity: bool = False
    fresh: bool = False
    cnn_maps: CnnMethod | None = None
    shown: str | None = None
    notes: Sequence[str] = ()
    lung_masks: Path | None = None


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
    lung_masks: Path | None = None,
    progress: Progress = SILENT,
) -> tuple[list[dict], list[dict]]:
    """(predictions, failures) for all scans in `sources`.

    A prediction is the content of prediction.json. A failure has at least the fields "source" and "reason".
    From a source with one patient, one series is predicted: `series`, or the series with the most slices. From a source
    with several patients, or in which all series have one slice, every series is predicted. A source may be a zip
    archive. The other parameters are described in `Options` and `Predictor.load`. InputError: the predictor cannot be
    read, `cnn_maps` needs a head that it does not have, or the lung masks cannot be used. MissingPackageError:
    `cnn_maps` needs Captum.
    """
    loaded = (
        predictor if isinstance(predictor, Predictor) else Predictor.load(predictor, device=device, weights=weights)
    )
    if cnn_maps is not None:
        loaded.check_cnn_maps(cnn_maps)
    if lung_masks is not None:
        check_folder_of_masks(lung_masks)
        check_masks(loaded, lung_masks)
    options = Options(out, series, delivery, keep_identity, fresh, cnn_maps, shown, notes, lung_masks)
    answered: list[dict] = []
    failed: list[dict] = []
    for source in sources:
        _Source(predictor=loaded, options=options, given=source, progress=progress).predict(source, answered, failed)
    return answered, failed


@dataclass(frozen=True)
class _Source:
    """One source, which is a folder or file given by the user."""

    predictor: Predictor
    options: Options
    given: Path
    progress: Progress
    positions: FilePositions = field(default_factory=FilePositions)

    def predict(self, path: Path, answered: list[dict], failed: list[dict]) -> None:
        """Adds the predictions of a folder or file to `answered` and its failures to `failed`.

        path: the source or, if the source is a folder, an archive in it.
        """
        archives: list[Path] = []
        with self.reported(failed, path), unpacked(path) as folder, self.reported(failed, path, folder):
            archives = archives_below(path)
            grey = self.predictor.info.preparation.grey
            found = scans_in(folder, grey)
            if not archives:
                check_kind(found, folder, grey)
            else:
                found.quarantined = [unused for unused in found.quarantined if unused.reason != ZIPPED]
            if self.options.lung_masks is not None:
                assign_masks(found, self.options.lung_masks, folder, named=self.options.keep_identity)
            chosen, lost = jobs(found, path, self.options.series, alone=not archives)
            for note in notes_on_ignored(found.ignored, lost):
                self.progress.note(note)
            for scan, notes in chosen:
                with self.reported(failed, path, folder, scan):
                    check(not scan.no_mask, scan.no_mask)
                    shown = str(scan.source).replace(str(folder), self.options.shown or str(path), 1)
                    notes = [*self.options.notes, *notes]
                    answered.append(_answer(self.predictor, scan, notes, shown, self.options, self.progress))
            for unused in lost:
                reason = f"a scan has no prediction: {explained_unused(unused, folder)}"
                failed.append(self.failure(reason, path, folder, **self.name(unused, path, folder, failed)))
        for archive in archives:
            self.predict(archive, answered, failed)

    @contextmanager
    def reported(
        self, failed: list[dict], path: Path, folder: Path | None = None, scan: Scan | None = None
    ) -> Iterator[None]:
        """Context manager: an error is not raised but added to `failed` as one line, so that other scans are predicted.

        folder: the folder with the unpacked files of `path`. scan: the scan that is predicted.
        """
        missing = None
        try:
            yield
        except (InputError, MissingPackageError) as error:
            reason = explained(error)
        except MemoryError:
            reason = linked(
                "the scan must fit in memory, got MemoryError: predict it on a computer with more memory",
                "out-of-memory",
            )
        except Exception as error:  # one scan must not end the run
            reason, missing = _of_file(error) or _unexpected(error), getattr(error, "filename", None)
        else:
            return
        input_ = Unused(path, reason) if scan is None and path != self.given else scan  # an archive has no pseudonym
        name = {} if input_ is None else self.name(input_, path, folder or path, failed)
        failed.append(self.failure(reason, path, folder or path, missing=missing, **name))

    def name(self, input_: Scan | Unused, path: Path, folder: Path, failed: Sequence[dict]) -> dict[str, Any]:
        """The fields of an entry of `failed` that identify the input, even without `keep_identity`.

        They are the fields of `named` and "position", the position of the file in the source (`FilePositions`). If the
        source is a folder and the file is in an archive, "position" is the position of the archive.
        """
        file = input_.source if isinstance(input_, Unused) else min(input_.files)
        inside = (file, folder) if path == self.given else (path, self.given)
        position = self.positions.of(*inside)
        return named(input_, failed) | ({} if position is None else {"position": position})

    def failure(self, reason: str, path: Path, folder: Path, *, missing: str | None = None, **name: Any) -> dict:
        """The entry of `failed` for a reason. folder: the folder with the unpacked files of `path`. name: from `name`.

        missing: a file in the reason that may no longer exist. Without `keep_identity`, the names of files are removed,
        because they may identify the patient.
        """
        shown = self.options.shown or str(self.given)
        if not self.options.keep_identity:
            reason = without_names(reason, folder, self.given, self.options.lung_masks or folder, missing=missing)
        reason = reason.replace(str(folder), str(path)).replace(str(self.given), shown)
        return {"source": shown, **name, "reason": reason}


def archives_below(path: Path) -> list[Path]:
    """The zip archives in a folder and its subfolders; none for a file."""
    return sorted(one for one in path.rglob("*") if is_archive(one)) if path.is_dir() else []


def _of_file(error: Exception) -> str | None:
    """The message for an error of a file or of the file system; None for other errors."""
    if not isinstance(error, OSError) or (error.filename is None and error.errno not in FILE_SYSTEM):
        return None
    return f"{error.filename or 'the file system'}: {error.strerror or error}"


def _unexpected(error: Exception) -> str:
    """The message for an unexpected error, with the line of code that raised it."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"unexpected {format_error(error)} ({Path(where.filename).name}:{where.lineno})"


def _answer(
    predictor: Predictor, scan: Scan, notes: list[str], source: str, options: Options, progress: Progress
) -> dict:
    name = pseudonym(scan)
    delivery = options.delivery
    delivered = delivery is None or (delivery.finish(scan, predictor.checksum) and not options.fresh)
    finished = None if options.out is None else options.out / name / ANSWER
    if finished is not None and finished.exists() and not options.fresh:
        answer = _finished(finished, predictor, options, scan)
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


def _finished(path: Path, predictor: Predictor, options: Options, scan: Scan) -> dict:
    """The finished prediction in a file. InputError: it is not of this scan, this predictor and these options."""
    instead = "give another --out, or replace it with --fresh"
    try:
        answer = read_json(path)
    except InputError as error:
        raise InputError(f"{error}: {instead}") from error
    known = isinstance(answer, dict) and answer.get("kind") == KIND
    check(known, f"{path} must be a prediction, got another document: {instead}")
    same = answer.get("predictor", {}).get("checksum") == predictor.checksum
    check(same, f"{path} was written with another predictor: {instead}")
    n, m = answer.get("slices"), scan.geometry.shape[0]  # a series may have been incomplete when it was predicted
    check(n == m, f"{path} must be a prediction of the {counted(m, 'slice')} of the scan, got {n}: {instead}")
    mask, used = None if scan.mask is None else sha256(scan.mask), answer.get("lung_mask_sha256")
    how = "without a" if used is None else "with another" if mask else "with a"
    check(used == mask, f"{path} was written {how} lung mask: {instead}")
    identified = answer.get("identity") is not None
    was = "with" if identified else "without"
    check(identified == options.keep_identity, f"{path} was written {was} --keep-identity: {instead}")
    method = options.cnn_maps
    # Predictions of earlier versions have only `cam_head`.
    stored = answer.get("cnn_maps") or (GRAD_CAM.option if answer.get("cam_head") else None)
    missing = method is not None and method.option != stored
    check(not missing, f"{path} was written without --cnn-maps {method and method.option}: {instead}")
    return answer
