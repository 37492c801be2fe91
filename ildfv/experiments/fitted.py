"""Networks and encodings of a context, which are fitted when first needed and later read from the workspace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ildfv.arrays import to_numpy
from ildfv.estimators.fisher import FisherVector
from ildfv.estimators.mixture import GaussianMixture
from ildfv.estimators.pca import PCA
from ildfv.estimators.regression import MultivariateRegression
from ildfv.experiments.context import Context
from ildfv.experiments.recipes import Cnn, Encoded, Patches
from ildfv.experiments.thinned import Thinned
from ildfv.inference.contributions import contributions
from ildfv.pipeline.choices import SLICE
from ildfv.pipeline.encode import encode
from ildfv.pipeline.encodings import FINISHED, Encoding
from ildfv.scans.prepared_lungs import lungs
from ildfv.store.atomic import key_of, read_json, sha256
from ildfv.store.models import INFO, TENSORS, has_model, load_model

if TYPE_CHECKING:
    from ildfv.train.receptive import ReceptiveFields


def network(context: Context, system: Cnn, fold: int) -> Path:
    """The folder of the network trained without the fold. The network is trained if it does not exist."""
    from ildfv.train.trainer import train

    folder, split = context.place("models", system, fold), context.split_of(system, fold)
    if not has_model(folder):
        context.progress.note(f"training {system.label} with fold {fold} held out")
        options: dict[str, Any] = {"device": context.device, "progress": context.progress}
        train(system.settings, context.slices, split.fit, split.validation, folder, **options)
        context.record_time()
    return folder


def patch_network(context: Context, system: Patches, fold: int) -> Path:
    """The folder of the patch baseline's network for the fold. The network is trained if it does not exist."""
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
        context.record_time()
    return folder


def encoding(context: Context, system: Encoded, fold: int) -> Encoding:
    """The system's encoding of all slices. Its encoder and PCA are fitted on the fold's fit slices."""
    from ildfv.train.activations import Activations
    from ildfv.train.networks import load

    folder = context.place("encodings", system, fold)
    if (folder / FINISHED).exists():  # the network is not needed and may have been removed
        return Encoding(folder)
    split, model = context.split_of(system, fold), network(context, system.network, fold)
    layer = Activations(load(model, context.device), system.settings.layer)
    settings = system.settings.with_batch_size(layer)
    activations = layer if system.descriptors == 1 else Thinned(layer, system.descriptors, settings.seed or 0)
    context.progress.note(f"encoding {system.label} with fold {fold} held out")
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
    context.record_time()
    return Encoding(folder)


@dataclass(frozen=True)
class FisherModel:
    """The fitted models of a system of Fisher vectors, for one held-out fold. fields: receptive fields of the layer."""

    activations: Callable
    vector: FisherVector
    pca: PCA
    regression: MultivariateRegression
    fields: ReceptiveFields

    def scores(self, images: np.ndarray) -> np.ndarray:
        """Scores (b, 4) of images (b, 3, 224, 224)."""
        vectors = to_numpy(self.vector.transform(self.activations(images)))
        return self.regression.predict(self.pca.transform(vectors)).astype(np.float64)

    def maps(self, images: np.ndarray) -> np.ndarray:
        """The contribution of every pixel to every score, float64 (b, 4, 224, 224). The sum is score − offset."""
        linear = np.asarray(self.regression.coef_, np.float64) @ np.asarray(self.pca.components_, np.float64)
        found = contributions(self.vector, linear, self.activations(images))  # (b, n, 4)
        return np.stack([self.fields.spread(found[..., c]) for c in range(found.shape[2])], axis=1)


def fisher_model(context: Context, system: Encoded, fold: int) -> FisherModel:
    """The fitted models of a system of Fisher vectors. The system must be scored first, see `scoring.scores`."""
    from ildfv.train.activations import Activations
    from ildfv.train.networks import load
    from ildfv.train.receptive import receptive_fields

    assert (system.encoder, system.descriptors, system.settings.region) == ("fisher", 1, SLICE), (
        "only for Fisher vectors of all descriptors of the whole slice"
    )
    folder = encoding(context, system, fold).folder
    trained, layer = load(network(context, system.network, fold), context.device), system.settings.layer
    mixture = GaussianMixture.from_tensors(*load_model(folder / "mixture"))
    return FisherModel(
        Activations(trained, layer),
        FisherVector(mixture, improved=system.settings.improved),
        PCA.from_tensors(*load_model(folder / "pca")),
        MultivariateRegression.from_tensors(*load_model(folder / "regression")),
        receptive_fields(trained, layer),
    )


def regression(context: Context, system: Encoded, fold: int) -> Callable[[np.ndarray], np.ndarray]:
    """The function that computes scores (b, 4) of images (b, 3, 224, 224) with the models fitted without the fold.

    The system must be scored first, see `scoring.scores`.
    """
    return fisher_model(context, system, fold).scores


def history(context: Context, system: Cnn, fold: int) -> list[dict]:
    """The training history, one dict per epoch. It is stored separately from the weights, which may be removed."""
    info = context.place("models", system, fold) / INFO
    if not info.exists():  # training is deterministic, so training again gives the same history
        network(context, system, fold)
    return read_json(info)["history"]
