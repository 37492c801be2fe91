"""Trains a network without one fold and scores it on that fold."""

from __future__ import annotations

from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ildfv import distributed
from ildfv.counted import counted
from ildfv.datasets.slice_store import Slices
from ildfv.errors import InputError, check
from ildfv.evaluation.documents import Results
from ildfv.pipeline.by_scan import refuse_scan_labels
from ildfv.pipeline.devices import resolve
from ildfv.pipeline.kept import FINGERPRINT, Kept, fingerprint_of
from ildfv.pipeline.order import finished_last, record
from ildfv.pipeline.score import score
from ildfv.pipeline.split import Split, load_folds, split_slices
from ildfv.pipeline.system_names import CNN_PREFIX
from ildfv.pipeline.workspace import Workspace
from ildfv.progress import SILENT, Progress
from ildfv.store.atomic import key_of, sha256
from ildfv.store.models import TENSORS, load_info
from ildfv.train.layer_names import OF_NETWORK

if TYPE_CHECKING:
    from ildfv.train.trainer import TrainResult, TrainSettings

ENOUGH = 2000  # with fewer labelled slices, a trained network is usually worse than descriptors that need no training


def train_network(
    root: Path,
    *,
    fold: int = 0,
    name: str | None = None,
    device: str = "auto",
    compile: bool | None = None,
    fresh: bool = False,
    kept: Kept | None = None,
    progress: Progress = SILENT,
    **settings,
) -> Results | None:
    """Trains a network and returns its results on the held-out fold; None on ranks other than 0.

    The model is written to models/<name>/fold-<k>. Interrupted training is resumed from the last epoch, and a finished
    model is only scored again. name: by default the name of the network. fresh: whether to replace a model of this name
    that was trained with other settings or slices. compile: whether to use `torch.compile`, see `trainer.train`. kept:
    if given, a finished result of the same model is returned and listed in `kept`, and the model is not scored again.
    settings: fields of `TrainSettings`; the defaults of seed and threshold are those of the workspace.

    InputError: an option is invalid, slices, labels or folds are missing or not valid, scans are labelled as a whole,
    or a model of this name was trained with other settings or slices and `fresh` is false.
    """
    distributed.start()
    from ildfv.train.networks import check_whole_slices, load
    from ildfv.train.trainer import TrainSettings, predict, train

    workspace = Workspace.open(root)
    slices, device = workspace.slices(), resolve(device)
    refuse_scan_labels(
        slices, "train", "use `ildfv fit`, or `ildfv encode` with a layer that needs no training and `ildfv regress`"
    )
    split = split_slices(slices, load_folds(workspace), fold)
    defaults = {"seed": workspace.settings.seed, "threshold": workspace.settings.threshold}
    chosen = TrainSettings(**(defaults | settings))
    check_whole_slices(chosen.network)
    name = name or chosen.network
    _check_name(name)
    folder = workspace.model_dir(name, fold)
    options: dict[str, Any] = {"device": device, "progress": progress, "compile": compile, "fresh": fresh}
    options["note"] = _few_slices(len(split.fit))
    trained = train(chosen, slices, split.fit, split.validation, folder, **options)
    if not distributed.is_main():
        return None
    record(workspace, folder / TENSORS)
    fingerprint = fingerprint_of(
        workspace, slices, split, {"train": chosen.recorded(), "model": sha256(folder / TENSORS)}
    )
    finished = None if kept is None else kept.finished(workspace, split, f"cnn-{name}", fingerprint)
    if finished is not None:
        return finished
    network = load(folder, device)
    scores = {}
    for part in ("validation", "test"):
        indices = getattr(split, part)
        scores[part] = predict(network, slices, indices, device=device, progress=progress)
    return score(
        workspace,
        slices,
        split,
        system=f"{CNN_PREFIX}{name}",
        validation_scores=scores["validation"],
        test_scores=scores["test"],
        settings=_recorded(chosen, trained) | {FINGERPRINT: fingerprint},
    )


def _few_slices(n: int) -> str:
    """The advice for training on n slices; empty if n is at least `ENOUGH`."""
    if n >= ENOUGH:
        return ""
    return (
        f"training on {counted(n, 'slice')}: with fewer than about {ENOUGH:,} slices, descriptors that need no "
        "training are usually better. Compare with `ildfv fit --recipe few` and the baselines"
    )


def _recorded(chosen: TrainSettings, trained: TrainResult) -> dict:
    """The settings of the training and, with early stopping, the numbers of the last epoch and of the kept epoch."""
    recorded = {"train": chosen.recorded()}
    if chosen.patience is None:
        return recorded
    return recorded | {"early stopping": {"epochs trained": len(trained.history), "epoch kept": trained.epoch}}


def _check_name(name: str) -> None:
    check(Path(name).name == name != "..", f"name must be a folder name without / or .., got {name!r}")


def newest_model(workspace: Workspace, fold: int, name: str | None = None) -> Path:
    """The folder of the model that was finished last for this fold; if a name is given, the model of this name.

    InputError: there is no such model, or there are several and the order is not recorded.
    """
    if name is not None:
        _check_name(name)
    names = escape(name) if name else "*"
    found = sorted(workspace.models_dir.glob(f"{names}/fold-{fold}/{TENSORS}"))
    if not found:
        what = f" named {name}" if name else ""
        raise InputError(f"{workspace.root} has no trained model{what} for fold {fold}: run {_command(fold, name)}")
    return finished_last(workspace, found, "choose one with `ildfv encode --model`").parent


def _command(fold: int, name: str | None) -> str:
    """The quoted command that trains a model of this name."""
    if not name:
        return f"`ildfv train --fold {fold}`"
    if name in OF_NETWORK:  # by default, a model has the name of its network
        return f"`ildfv train --fold {fold} --network {name}`"
    return f"`ildfv train --fold {fold} --name {name}`"


def check_trained_on(folder: Path, slices: Slices, split: Split) -> None:
    """Raises InputError if the network was trained on other slices or folds, which may include the test patients.

    A network that was trained outside ildfv has no record of its training data and cannot be checked.
    """
    trained = load_info(folder).get("identity")
    now = {"slices": slices.key, "fit": key_of(split.fit.tolist()), "validation": key_of(split.validation.tolist())}
    if trained is not None and any(trained[name] != value for name, value in now.items()):
        raise InputError(
            f"{folder} must be trained on the current slices and folds, which have changed, so the training data may "
            f"include test patients: run `ildfv train --fold {split.fold} --name {folder.parent.name} --fresh` first"
        )
