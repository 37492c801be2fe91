"""Training of a network on all folds but one, and its scores on that fold."""

from __future__ import annotations

from glob import escape
from pathlib import Path
from typing import Any

from ildfv import distributed
from ildfv.datasets.slice_store import Slices
from ildfv.errors import InputError, check
from ildfv.evaluation.documents import Results
from ildfv.pipeline.devices import resolve
from ildfv.pipeline.order import finished_last, record
from ildfv.pipeline.score import score
from ildfv.pipeline.split import Split, load_folds, split_slices
from ildfv.pipeline.workspace import Workspace
from ildfv.progress import SILENT, Progress
from ildfv.store.atomic import key_of
from ildfv.store.models import TENSORS, load_info

ENOUGH = 2000  # labelled slices; with fewer, a trained network is worse than descriptors without training


def train_network(
    root: Path,
    *,
    fold: int = 0,
    name: str | None = None,
    device: str = "auto",
    compile: bool | None = None,
    fresh: bool = False,
    progress: Progress = SILENT,
    **settings,
) -> Results | None:
    """The results of the network on the held-out fold, None on ranks other than 0.

    The model is written to models/<name>/fold-<k>.

    settings: fields of `TrainSettings`; seed and threshold default to the workspace's. Interrupted training is
    resumed from the last epoch; a finished model is only scored again. fresh: whether to replace a model of this name
    that was trained with other settings or slices. compile: whether to use `torch.compile`; see `trainer.train`.
    """
    distributed.start()
    from ildfv.train.networks import check_whole_slices, load
    from ildfv.train.trainer import TrainSettings, predict, train

    workspace = Workspace.open(root)
    slices, device = workspace.slices(), resolve(device)
    split = split_slices(slices, load_folds(workspace), fold)
    defaults = {"seed": workspace.settings.seed, "threshold": workspace.settings.threshold}
    chosen = TrainSettings(**(defaults | settings))
    check_whole_slices(chosen.network)
    name = name or chosen.network
    _check_name(name)
    folder = workspace.model_dir(name, fold)
    if len(split.fit) < ENOUGH:
        progress.note(
            f"training on {len(split.fit):,} slices: below about {ENOUGH:,}, descriptors without training are usually "
            "better: compare with `ildfv fit --recipe few` and the baselines"
        )
    options: dict[str, Any] = {"device": device, "progress": progress, "compile": compile, "fresh": fresh}
    train(chosen, slices, split.fit, split.validation, folder, **options)
    if not distributed.is_main():
        return None
    record(workspace, folder / TENSORS)
    network = load(folder, device)
    scores = {}
    for part in ("validation", "test"):
        indices = getattr(split, part)
        scores[part] = predict(network, slices, indices, device=device, progress=progress)
    return score(
        workspace,
        slices,
        split,
        system=f"cnn-{name}",
        validation_scores=scores["validation"],
        test_scores=scores["test"],
        settings={"train": vars(chosen)},
    )


def _check_name(name: str) -> None:
    check(Path(name).name == name != "..", f"name must be a folder name without / or .., got {name!r}")


def newest_model(workspace: Workspace, fold: int, name: str | None = None) -> Path:
    """The folder of the model recorded as finished last for this fold, of this name if given. InputError: none, or the
    order of several is not recorded."""
    if name is not None:
        _check_name(name)
    names = escape(name) if name else "*"
    found = sorted(workspace.models_dir.glob(f"{names}/fold-{fold}/{TENSORS}"))
    if not found:
        what = f" named {name}" if name else ""
        raise InputError(
            f"{workspace.root} has no trained model{what} for fold {fold}: run `ildfv train --fold {fold}`"
        )
    return finished_last(workspace, found, "choose one by --model").parent


def check_trained_on(folder: Path, slices: Slices, split: Split) -> None:
    """Raises InputError if the network was trained on other slices or folds, perhaps including the test patients.

    A network that was trained elsewhere has no record of its training data and cannot be checked.
    """
    trained = load_info(folder).get("identity")
    now = {"slices": slices.key, "fit": key_of(split.fit.tolist()), "validation": key_of(split.validation.tolist())}
    if trained is not None and any(trained[name] != value for name, value in now.items()):
        raise InputError(
            f"{folder} was trained on slices or folds other than the current ones, perhaps on the current test "
            f"patients: run `ildfv train --fold {split.fold} --name {folder.parent.name} --fresh` first"
        )
