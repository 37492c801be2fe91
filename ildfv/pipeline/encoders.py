"""The available encoders by name. An encoder is fitted on fit slices and saved in the folder of the encoding.

An encoder transforms maps (b, d, h, w) to vectors (b, length). PCA and regression are the same for all encoders. The
estimators of all encoders but "fisher" import scikit-learn, which takes a second, so they are imported when needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ildfv import distributed
from ildfv.datasets.slice_store import Slices
from ildfv.errors import check
from ildfv.estimators.fixed import FixedFisher
from ildfv.estimators.mixture_model import MixtureModel
from ildfv.estimators.start import sample_size
from ildfv.pipeline import mixture as mixture_step
from ildfv.pipeline.descriptors import InHounsfield
from ildfv.pipeline.regions import Weights
from ildfv.progress import Progress
from ildfv.store.models import has_model, load_model, save_model
from ildfv.streaming.maps import MapStream, batches
from ildfv.streaming.memory import MapMemory


class Maps(Protocol):
    """A function from images to maps (b, d, h, w) with n = h·w locations: all or some of the activations of a layer."""

    d: int
    n: int

    def __call__(self, images): ...


@dataclass(frozen=True)
class Training:
    """The data and settings for fitting an encoder on the descriptors of the fit slices, whose indices are `indices`.

    folder: the folder of the encoding. settings: `EncodeSettings`. words: number of visual words of the encoder
    "words". weights: function from slice indices to the weights of their descriptors.
    """

    folder: Path
    slices: Slices | InHounsfield
    activations: Maps
    indices: np.ndarray
    settings: Any
    words: int
    progress: Progress
    weights: Weights | None = None
    memory: MapMemory | None = None

    def mixture(self) -> MixtureModel:
        """The mixture in mixture/, which is fitted if it does not exist."""
        folder = self.folder / "mixture"
        given = (self.slices, self.activations, self.indices, self.settings, self.progress)
        return mixture_step.fit(folder, *given, weights=self.weights, memory=self.memory)

    def codebook(self, n_clusters: int) -> tuple[np.ndarray, np.ndarray]:
        """(centres (k, d), scale (d,)) in codebook/, which are fitted on a sample of descriptors if they do not exist.

        There are fewer than `n_clusters` centres if the sample has fewer descriptors.
        """
        from ildfv.estimators.codebook import Codebook

        folder, seed = self.folder / "codebook", self.settings.seed or 0
        if distributed.is_main() and not has_model(folder):
            every = batches(self.slices, self.indices)
            stream = MapStream(self.slices, self.activations, every, weights=self.weights, memory=self.memory)
            sample = stream.sample(sample_size(n_clusters, self.activations.d), seed)
            book = Codebook(min(n_clusters, len(sample)), random_state=seed).fit(sample)
            tensors = {"centres": book.centres_, "scale": book.scale_}
            save_model(folder, tensors, {"words": len(book.centres_), "sample": len(sample)})
        distributed.barrier()
        tensors, _ = load_model(folder)
        return tensors["centres"], tensors["scale"]


@dataclass(frozen=True)
class Encoder:
    """A fitted encoder: an estimator that transforms maps, and the length of its vectors.

    summary: fields of encoding.json that describe the fit.
    """

    estimator: Any
    length: int
    summary: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Kind:
    """A kind of encoder.

    fit: function that fits the encoder, or reads it from the folder of the encoding. model: name of the subfolder where
    it is saved; None if it has no fitted parameters.
    """

    fit: Callable[[Training], Encoder]
    model: str | None = None


def kind(name: str) -> Kind:
    """The kind of encoder with this name. InputError: the name is unknown."""
    check(name in ENCODERS, f'encoder must be one of {", ".join(ENCODERS)}, got "{name}"')
    return ENCODERS[name]


def _fisher(training: Training) -> Encoder:
    mixture = training.mixture()
    vector = FixedFisher(mixture, improved=training.settings.improved)
    return Encoder(vector, 2 * mixture.means_.size, _summary(mixture))


def _pyramid(training: Training) -> Encoder:
    from ildfv.estimators.fisher import FisherVector
    from ildfv.estimators.pyramid import SpatialPyramid, n_cells

    mixture = training.mixture()
    pyramid = SpatialPyramid(FisherVector(mixture, improved=training.settings.improved))
    return Encoder(pyramid, 2 * mixture.means_.size * n_cells(pyramid.grids), _summary(mixture))


def _summary(mixture: MixtureModel) -> dict:
    return {"passes": int(mixture.n_iter_), "mean_log_likelihood": mixture.lower_bound_}


def _words(training: Training) -> Encoder:
    from ildfv.estimators.bag_of_words import BagOfWords

    centres, scale = training.codebook(training.words)
    return Encoder(BagOfWords(centres=centres, scale=scale), len(centres))


def _vlad(training: Training) -> Encoder:
    from ildfv.estimators.vlad import VLAD

    centres, scale = training.codebook(training.settings.components)
    return Encoder(VLAD(centres=centres, scale=scale), centres.size)


def _pooling(kind: str) -> Any:
    from ildfv.estimators.pooling import Pooling

    return Pooling(kind)


def _mean(training: Training) -> Encoder:
    return Encoder(_pooling("mean"), training.activations.d)


def _max(training: Training) -> Encoder:
    return Encoder(_pooling("max"), training.activations.d)


def _flat(training: Training) -> Encoder:
    return Encoder(_pooling("flat"), training.activations.d * training.activations.n)


ENCODERS = {
    "fisher": Kind(_fisher, "mixture"),
    "pyramid": Kind(_pyramid, "mixture"),
    "words": Kind(_words, "codebook"),
    "vlad": Kind(_vlad, "codebook"),
    "mean": Kind(_mean),
    "max": Kind(_max),
    "flat": Kind(_flat),  # all values of the map, for comparison with the other encoders
}
