"""Unordered encoders by name: a map of descriptors in, one vector a slice out.

Each is fitted on training slices only, and has a `length` and a `transform`: maps (b, d, h, w) → (b, length). All then
go the Fisher vector's way: PCA, projections, regression.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from ildfv.arrays import to_numpy
from ildfv.estimators.fisher import FisherVector
from ildfv.estimators.mixture import GaussianMixture
from ildfv.estimators.start import sample_size, start
from ildfv.pipeline import mixture as mixture_step
from ildfv.pipeline.encode import EncodeSettings
from ildfv.progress import Progress
from ildfv.store.models import has_model, load_model, save_model
from ildfv.streaming.maps import MapStream, batches

GRIDS = (1, 2)  # cells a side of each level of the spatial pyramid: the whole map and its quarters


class Maps(Protocol):
    """Images → maps (b, d, h, w), n = h·w: activations of a layer, all of them or some."""

    d: int
    n: int

    def __call__(self, images) -> torch.Tensor: ...


@dataclass(frozen=True)
class Fitting:
    """What an encoder is fitted on: the descriptors of the slices `indices`, all of training patients."""

    folder: Path
    slices: object
    activations: Maps
    indices: np.ndarray
    settings: EncodeSettings
    words: int
    progress: Progress

    def mixture(self) -> GaussianMixture:
        return mixture_step.fit(
            self.folder / "mixture", self.slices, self.activations, self.indices, self.settings, self.progress
        )

    def codebook(self, words: int) -> tuple[np.ndarray, np.ndarray]:
        """Centres (words, d) of k-means on a sample of descriptors, and the scale (d,) in which they are nearest."""
        folder, seed = self.folder / "codebook", self.settings.seed or 0
        if not has_model(folder):
            stream = MapStream(self.slices, self.activations, batches(self.slices, self.indices))  # type: ignore[arg-type]
            sample = stream.sample(sample_size(words, self.activations.d), seed)
            spread = sample.std(axis=0, dtype=np.float64)
            scale = np.where(spread > 0, spread, 1.0)
            words = min(words, len(sample))
            centres = start(sample, words, init="k-means", seed=seed).means_
            save_model(folder, {"centres": centres, "scale": scale}, {"words": words, "sample": len(sample)})
        tensors, _ = load_model(folder)
        return tensors["centres"], tensors["scale"]


class Pyramid:
    """Fisher vectors of the cells of grids over the map, side by side (Lazebnik et al. 2006); one grid of 1: of all."""

    def __init__(self, mixture: GaussianMixture, grids: tuple[int, ...], improved: bool):
        self.vector, self.grids = FisherVector(mixture, improved=improved), grids
        self.length = 2 * mixture.means_.size * sum(g * g for g in grids)

    def transform(self, maps):
        return np.concatenate([to_numpy(self.vector.transform(cell)) for cell in self._cells(maps)], axis=1)

    def _cells(self, maps):
        h, w = maps.shape[2:]
        for g in self.grids:
            rows, columns = (np.linspace(0, n, g + 1).round().astype(int) for n in (h, w))
            for top, bottom in pairwise(rows):
                for left, right in pairwise(columns):
                    yield maps if g == 1 else maps[:, :, top:bottom, left:right].contiguous()


class Codebook:
    """Hard assignment of descriptors to their nearest centres."""

    def __init__(self, centres: np.ndarray, scale: np.ndarray):
        self.centres, self.scale = (torch.from_numpy(a).float() for a in (centres / scale, scale))

    def assigned(self, maps) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Scaled descriptors (b, n, d), their membership (b, n, k) of 0 and 1, and the centres (k, d)."""
        centres = self.centres.to(maps.device)
        x = (maps.flatten(2) / self.scale.to(maps.device)[:, None]).transpose(1, 2)
        nearest = (x @ centres.T - 0.5 * centres.square().sum(1)).argmax(dim=2)
        return x, torch.nn.functional.one_hot(nearest, len(centres)).float(), centres


class BagOfWords(Codebook):
    """How often each word is the nearest: square roots of frequencies, so that the norm is 1."""

    @property
    def length(self) -> int:
        return len(self.centres)

    def transform(self, maps) -> torch.Tensor:
        return self.assigned(maps)[1].mean(dim=1).sqrt()


class Vlad(Codebook):
    """Sums of differences to the nearest centre (Jégou et al. 2010), signed square root, unit L2 norm."""

    @property
    def length(self) -> int:
        return self.centres.numel()

    def transform(self, maps) -> torch.Tensor:
        x, member, centres = self.assigned(maps)
        sums = member.transpose(1, 2) @ x - member.sum(dim=1)[..., None] * centres  # (b, k, d)
        rooted = (sums.sign() * sums.abs().sqrt()).flatten(1)
        return rooted / rooted.norm(dim=1, keepdim=True).clamp_min(1e-12)


class Pooled:
    """Mean or maximum of each channel, or the whole map without pooling."""

    def __init__(self, how: Callable[[torch.Tensor], torch.Tensor], length: int):
        self.how, self.length = how, length

    def transform(self, maps) -> torch.Tensor:
        return self.how(maps)


def _fisher(f: Fitting) -> Pyramid:
    return Pyramid(f.mixture(), (1,), f.settings.improved)


def _pyramid(f: Fitting) -> Pyramid:
    return Pyramid(f.mixture(), GRIDS, f.settings.improved)


def _words(f: Fitting) -> BagOfWords:
    return BagOfWords(*f.codebook(f.words))


def _vlad(f: Fitting) -> Vlad:
    return Vlad(*f.codebook(f.settings.components))


def _mean(f: Fitting) -> Pooled:
    return Pooled(lambda maps: maps.mean(dim=(2, 3)), f.activations.d)


def _max(f: Fitting) -> Pooled:
    return Pooled(lambda maps: maps.amax(dim=(2, 3)), f.activations.d)


def _flat(f: Fitting) -> Pooled:
    return Pooled(lambda maps: maps.flatten(1), f.activations.d * f.activations.n)


ENCODERS: dict[str, Callable[[Fitting], Pyramid | BagOfWords | Vlad | Pooled]] = {
    "fisher": _fisher,
    "pyramid": _pyramid,
    "words": _words,
    "vlad": _vlad,
    "mean": _mean,
    "max": _max,
    "flat": _flat,  # not unordered: what a layer holds without any encoder
}
