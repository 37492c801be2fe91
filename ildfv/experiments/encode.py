"""Encodings by any encoder: the pipeline's own steps, in folders of the experiments."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from ildfv.arrays import to_numpy
from ildfv.experiments.encoders import ENCODERS, Fitting
from ildfv.pipeline import projection
from ildfv.pipeline.encodings import FINISHED, Encoding
from ildfv.pipeline.fisher import FisherVectors
from ildfv.store.atomic import sweep
from ildfv.store.checksummed import write_checksummed
from ildfv.store.fingerprint import match_fingerprint
from ildfv.store.lock import writing

if TYPE_CHECKING:
    from ildfv.experiments.context import Lab
    from ildfv.experiments.systems import Encoded


class Thinned:
    """Activations of which a random share of each map's descriptors is kept: maps (b, d, m, 1).

    Which ones depends on the slice's content and the seed alone, so every pass and every restart sees the same.
    """

    def __init__(self, activations, share: float, seed: int):
        self.activations, self.d, self.n = activations, activations.d, max(1, round(share * activations.n))
        self.seed, self.device = seed, activations.device

    def __call__(self, images) -> torch.Tensor:
        maps = self.activations(images).flatten(2)  # (b, d, n)
        draws = [torch.Generator().manual_seed(self.seed + zlib.crc32(image.tobytes())) for image in to_numpy(images)]
        kept = torch.stack([torch.randperm(maps.shape[2], generator=draw)[: self.n] for draw in draws])  # (b, m)
        kept = kept.to(maps.device)[:, None].expand(-1, maps.shape[1], -1)
        return maps.gather(2, kept)[..., None]


def encode(lab: Lab, system: Encoded, fold: int) -> Encoding:
    """The system's finished encoding of all slices; encoder and PCA are fitted on the fold's training slices."""
    from ildfv.train.activations import Activations
    from ildfv.train.networks import load

    folder = lab.folder / "encodings" / system.folder / f"fold-{fold}"
    if (folder / FINISHED).exists():
        return Encoding(folder)
    roles = lab.roles(fold, system.network.patients)
    every = Activations(load(lab.network(system.network, fold), lab.device), system.settings.layer)
    settings = system.settings.fitted(every)
    activations = every if system.descriptors == 1 else Thinned(every, system.descriptors, settings.seed or 0)
    with writing(folder):
        sweep(folder)
        # What fits in a GPU's memory may be another number when a stopped run goes on.
        begun = match_fingerprint(
            folder, {"system": system.folder}, measured={"fitted_batch_size": settings.batch_size}
        )
        settings = replace(settings, batch_size=begun["fitted_batch_size"])
        lab.progress.note(f"Encoding {system.label} without fold {fold}")
        fitting = Fitting(folder, lab.slices, activations, roles.train, settings, system.words, lab.progress)
        encoder = ENCODERS[system.encoder](fitting)
        vectors = FisherVectors(folder / "fisher", lab.slices, activations, encoder, encoder.length, settings)
        vectors.write(lab.progress)
        pca = projection.fit(folder / "pca", vectors, roles.train, settings, lab.progress)
        projection.write(folder / "projection", vectors, pca, lab.progress)
        info = {
            "layer": settings.layer,
            "fold": fold,
            "data": lab.slices.data,
            "encoder": system.encoder,
            "length": encoder.length,
            "descriptors_a_slice": activations.n,
            "dimensions": len(pca.components_),
            "explained_variance": float(pca.explained_variance_ratio_.sum()),
            "train_slices": len(roles.train),
        }
        write_checksummed(folder / FINISHED, info)
    lab.made()
    return Encoding(folder)
