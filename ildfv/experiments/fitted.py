"""Networks and encodings of a context: trained or computed when first needed, then read from the workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ildfv.experiments.context import Context
from ildfv.experiments.recipes import Cnn, Encoded, Patches
from ildfv.experiments.thinned import Thinned
from ildfv.pipeline.encode import encode
from ildfv.pipeline.encodings import FINISHED, Encoding
from ildfv.scans.prepared_lungs import lungs
from ildfv.store.atomic import key_of, read_json, sha256
from ildfv.store.models import INFO, TENSORS, has_model


def network(context: Context, system: Cnn, fold: int) -> Path:
    """The folder of the network trained without the fold."""
    from ildfv.train.trainer import train

    folder, split = context.place("models", system, fold), context.split(fold, system.patients)
    if not has_model(folder):
        context.progress.note(f"Training {system.label} without fold {fold}")
        options: dict[str, Any] = {"device": context.device, "progress": context.progress}
        train(system.settings, context.slices, split.fit, split.validation, folder, **options)
        context.made()
    return folder


def patch_network(context: Context, system: Patches, fold: int) -> Path:
    """The folder of the patch baseline's network trained without the fold."""
    from ildfv.train.patches import PatchSet
    from ildfv.train.trainer import train

    folder, split = context.place("models", system, fold), context.split(fold)
    if not has_model(folder):
        patches = PatchSet(
            context.slices,
            split.train,
            lambda indices: lungs(context.slices, indices, system.lungs),
            per_slice=system.per_slice,
            seed=system.settings.seed,
            progress=context.progress,
        )
        fit, validation = patches.of(split.fit), patches.of(split.validation)
        options: dict[str, Any] = {"device": context.device, "progress": context.progress}
        train(system.settings, patches, fit, validation, folder, **options)
        context.made()
    return folder


def encoding(context: Context, system: Encoded, fold: int) -> Encoding:
    """The system's encoding of all slices; encoder and PCA are fitted on the fold's fit slices."""
    from ildfv.train.activations import Activations
    from ildfv.train.networks import load

    folder = context.place("encodings", system, fold)
    if (folder / FINISHED).exists():  # the network may have been removed since: it is not needed
        return Encoding(folder)
    split, model = context.split(fold, system.network.patients), network(context, system.network, fold)
    every = Activations(load(model, context.device), system.settings.layer)
    settings = system.settings.fitted(every)
    activations = every if system.descriptors == 1 else Thinned(every, system.descriptors, settings.seed or 0)
    context.progress.note(f"Encoding {system.label} without fold {fold}")
    encode(
        folder,
        context.slices,
        activations,
        split,
        settings,
        encoder=system.encoder,
        words=system.words,
        inputs={
            **system.inputs,
            "fold": fold,
            "slices": context.slices.key,
            "folds": split.folds,
            "fit": key_of(split.fit.tolist()),
            "model": model.relative_to(context.workspace.root).as_posix(),
            "model_sha256": sha256(model / TENSORS),
        },
        root=context.workspace.root,
        progress=context.progress,
    )
    context.made()
    return Encoding(folder)


def history(context: Context, system: Cnn, fold: int) -> list[dict]:
    """The training history, a dict per epoch; it is kept when the weights are removed."""
    info = context.place("models", system, fold) / INFO
    if not info.exists():  # training is deterministic: the history is the same
        network(context, system, fold)
    return read_json(info)["history"]
