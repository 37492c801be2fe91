"""Train a network on all folds but one and score it on that one."""

from __future__ import annotations

from glob import escape
from pathlib import Path
from typing import Any

from ildfv import distributed
from ildfv.datasets.slice_store import Slices
from ildfv.errors import InputError, check
from ildfv.pipeline.devices import resolve
from ildfv.pipeline.order import finished_last, record
from ildfv.pipeline.score import score
from ildfv.pipeline.split import Roles, load_folds, make_roles
from ildfv.pipeline.workspace import Workspace
from ildfv.progress import SILENT, Progress
from ildfv.store.atomic import key_of
from ildfv.store.models import TENSORS, load_info


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
) -> dict:
    """The results document of the network on the held-out fold; the model lies in models/<name>/fold-<k>.

    settings: fields of `TrainSettings`; seed and threshold default to the workspace's. Training goes on from its last
    epoch if it was stopped; a finished model is scored again, not trained again. fresh: removes a model of that name
    that was trained with other settings or on other slices. compile: through `torch.compile`, as `trainer.train` says.
    """
    distributed.start()
    from ildfv.train.networks import check_whole_slices, load
    from ildfv.train.trainer import TrainSettings, predict, train

    workspace = Workspace.open(root)
    slices, device = workspace.slices(), resolve(device)
    roles = make_roles(slices, load_folds(workspace), fold)
    defaults = {"seed": workspace.settings.seed, "threshold": workspace.settings.threshold}
    chosen = TrainSettings(**(defaults | settings))
    check_whole_slices(chosen.network)
    name = name or chosen.network
    _check_name(name)
    folder = workspace.model_dir(name, fold)
    options: dict[str, Any] = {"device": device, "progress": progress, "compile": compile, "fresh": fresh}
    train(chosen, slices, roles.fit, roles.validation, folder, **options)
    if not distributed.is_main():
        return {}
    record(workspace, folder / TENSORS)
    network = load(folder, device)
    scores = {}
    for role in ("validation", "test"):
        indices = getattr(roles, role)
        scores[role] = predict(network, slices, indices, device=device, progress=progress)
    return score(
        workspace,
        slices,
        roles,
        system=f"cnn-{name}",
        validation_scores=scores["validation"],
        test_scores=scores["test"],
        settings={"train": vars(chosen)},
    )


def _check_name(name: str) -> None:
    check(Path(name).name == name != "..", f"name must be that of one folder, without / and .., got {name!r}")


def newest_model(workspace: Workspace, fold: int, name: str | None = None) -> Path:
    """The folder of the model recorded as finished last for this fold, of that name if given."""
    if name is not None:
        _check_name(name)
    names = escape(name) if name else "*"
    found = sorted(workspace.models_dir.glob(f"{names}/fold-{fold}/{TENSORS}"))
    if not found:
        what = f" named {name}" if name else ""
        raise InputError(
            f"{workspace.root} holds no trained model{what} for fold {fold}: `ildfv train --fold {fold}` makes one"
        )
    return finished_last(workspace, found, "choose one by --model").parent


def check_trained_on(folder: Path, slices: Slices, roles: Roles) -> None:
    """InputError if the network was trained on other slices or folds: it may know the patients it is to be tested on.

    A network that was not trained here carries no identity; that it knows none of the patients is its owner's word.
    """
    trained = load_info(folder).get("identity")
    now = {"slices": slices.key, "fit": key_of(roles.fit.tolist()), "validation": key_of(roles.validation.tolist())}
    if trained is not None and any(trained[name] != value for name, value in now.items()):
        raise InputError(
            f"{folder} was trained on other slices or folds than the workspace now holds, so it may "
            f"know its test patients: `ildfv train --fold {roles.fold} --name {folder.parent.name} --fresh` first"
        )
