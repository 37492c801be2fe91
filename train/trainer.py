"""Training of a network from settings and slices, with the same result after any interruption."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np

from ildfv import distributed
from ildfv.errors import check
from ildfv.progress import SILENT, Progress
from ildfv.store.atomic import sweep
from ildfv.store.fingerprint import empty
from ildfv.store.lock import writing
from ildfv.store.models import has_model, load_info
from ildfv.train import networks
from ildfv.train.checkpoint import Checkpoint, SaveSchedule
from ildfv.train.data import SliceSet, labelled_only
from ildfv.train.prediction import predict
from ildfv.train.run import Run, TrainResult
from ildfv.train.selection import check_enough_patients
from ildfv.train.settings import TrainSettings, check_same, identity

__all__ = ["TrainResult", "TrainSettings", "predict", "train"]


def train(
    settings: TrainSettings,
    slices: SliceSet,
    fit_indices,
    validation_indices,
    folder: Path,
    *,
    device: str = "cpu",
    progress: Progress = SILENT,
    checkpoint_seconds: float = 20.0,
    compile: bool | None = None,
    fresh: bool = False,
    note: str = "",
) -> TrainResult:
    """Trains a network on the labelled fit slices, saves it in `folder` and returns the result.

    Training resumes from the last checkpoint. A run that was killed at any moment and repeated gives the same bytes as
    an uninterrupted run on the same machine with the same number of threads, except in the TensorBoard log, which
    contains times. Checkpoints are written between steps, every `checkpoint_seconds` or less often, so that writing
    takes less than a tenth of the time. If the folder contains another training run, an InputError is raised or,
    with `fresh`, the folder is emptied first.

    Normalisation, β and weights are computed from the fit slices. Validation metrics, and the epoch that select="best"
    selects, are computed from the validation slices. No other slices are read. With `patience`, training stops when
    that many epochs in succession were not better than the best epoch before them, as compared by select="best".

    Under torchrun, the shards of each step are divided among the ranks (data parallel). The result is bitwise the same
    for any number of ranks with the same number of threads each; ranks beyond the number of shards are idle.

    compile: whether to use `torch.compile`, which needs a GPU. None: it is used on a GPU if there are enough slices;
    if the compiler fails, the network is not compiled. Compiled sums are rounded differently, so the last bits of the
    result differ.

    note: a line that is shown before the first step, after all checks.
    """
    folder = Path(folder)
    fit, validation = labelled_only(slices, fit_indices), labelled_only(slices, validation_indices)
    check(len(fit) > 0, "training needs at least one labelled slice, got none")
    patients = np.asarray(slices.patients)
    shared = set(patients[fit]) & set(patients[validation])
    check(not shared, f"fit and validation slices must have no patient in common, got {len(shared)}")
    check_enough_patients(settings.patience, patients[validation])
    requested = identity(settings, slices, fit, validation)
    with ExitStack() as stack:
        if distributed.is_main():
            stack.enter_context(writing(folder))
            sweep(folder)
            if fresh and _existing_identity(folder, requested) != requested:
                empty(folder)
        found = distributed.from_main(load_info(folder) if distributed.is_main() and has_model(folder) else None)
        if found is None:
            saves = SaveSchedule(checkpoint_seconds)
            run = Run(settings, slices, fit, validation, folder, device, progress, requested, saves, compile)
            if note:
                progress.note(note)
            return run.finish()
        check_same(requested, found.get("identity"), folder)
        if distributed.is_main():
            Checkpoint(folder).remove()
        return TrainResult(folder, networks.load(folder, device), found["history"], found["epoch"], None)


def _existing_identity(folder: Path, requested: dict) -> dict | None:
    """The identity of the training run in the folder, finished or not; `requested` if there is none."""
    found = [load_info(place) for place in (folder, Checkpoint(folder).folder) if has_model(place)]
    return found[0].get("identity") if found else requested
