"""Train a network on all folds but one and score it on that one."""

from __future__ import annotations

from pathlib import Path

from ildfv import distributed
from ildfv.errors import InputError
from ildfv.pipeline.devices import resolve
from ildfv.pipeline.roles import load_folds, make_roles
from ildfv.pipeline.score import score
from ildfv.progress import SILENT, Progress
from ildfv.store.models import TENSORS
from ildfv.store.workspace import Workspace


def train_network(
    root: Path, *, fold: int = 0, name: str | None = None, device: str = "auto", progress: Progress = SILENT, **settings
) -> dict:
    """The results document of the network on the held-out fold; the model lies in models/<name>/fold-<k>.

    settings: fields of `TrainSettings`; seed and threshold default to the workspace's. Training goes on from its last
    epoch if it was stopped; a finished model is scored again, not trained again.
    """
    distributed.start()
    from ildfv.train.networks import load
    from ildfv.train.trainer import TrainSettings, predict, train

    workspace = Workspace.open(root)
    slices, device = workspace.slices(), resolve(device)
    roles = make_roles(slices, load_folds(workspace), fold)
    defaults = {"seed": workspace.settings.seed, "threshold": workspace.settings.threshold}
    chosen = TrainSettings(**(defaults | settings))
    name = name or chosen.network
    folder = workspace.model_dir(name, fold)
    train(chosen, slices, roles.fit, roles.validation, folder, device=device, progress=progress)
    if not distributed.is_main():
        return {}
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


def newest_model(workspace: Workspace, fold: int, name: str | None = None) -> Path:
    """The folder of the model finished last for this fold, of that name if given."""
    found = [path.parent for path in workspace.models_dir.glob(f"{name or '*'}/fold-{fold}/{TENSORS}")]
    if not found:
        what = f" named {name}" if name else ""
        raise InputError(
            f"{workspace.root} holds no trained model{what} for fold {fold}: `ildfv train --fold {fold}` makes one"
        )
    return max(found, key=lambda path: (path / TENSORS).stat().st_mtime_ns)
