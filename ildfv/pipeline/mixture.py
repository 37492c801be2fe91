"""The mixture of an encoding: EM over all training descriptors, saved after every pass."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from ildfv import distributed
from ildfv.estimators.mixture import GaussianMixture
from ildfv.progress import Progress
from ildfv.store.atomic import sweep
from ildfv.store.models import has_model, load_model, save_model
from ildfv.stream import MapStream, batches


def fit(folder: Path, slices, activations, indices: np.ndarray, settings, progress: Progress) -> GaussianMixture:
    """The mixture in `folder`, fitted on the descriptors of the slices `indices`, or the finished one found there.

    The start is drawn by rank 0; each rank then sums over its share of the batches, and all make the same M step.
    """
    all_batches = batches(slices, indices, settings.batch_size)
    if distributed.is_main():
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        if not has_model(folder):
            progress.note(f"{settings.layer}: mixture starts from a sample of its descriptors")
            _save(folder, _start(MapStream(slices, activations, all_batches), settings))
    distributed.barrier()
    mixture = GaussianMixture.from_tensors(*load_model(folder))
    if mixture.converged_ or mixture.n_iter_ >= settings.passes:
        return mixture
    mixture.set_params(
        max_iter=settings.passes,
        warm_start=True,
        reduce=distributed.sum_arrays if distributed.size() > 1 else None,
        callback=lambda *_: _save(folder, mixture) if distributed.is_main() else None,
    )
    _quietly(
        mixture,
        Passes(mixture, MapStream(slices, activations, distributed.share(all_batches)), settings.layer, progress),
    )
    progress.note(f"{settings.layer}: mean log likelihood {mixture.lower_bound_:.4f} after {mixture.n_iter_} passes")
    return mixture


@dataclass(frozen=True)
class Passes:
    """A stream whose every pass is a task of its own."""

    mixture: GaussianMixture
    stream: MapStream
    layer: str
    progress: Progress

    def __iter__(self) -> Iterator:
        label = f"{self.layer}: EM pass {self.mixture.n_iter_ + 1}"
        with self.progress.task(label, total=len(self.stream)) as self.stream.advance:
            yield from self.stream


def _start(stream: MapStream, settings) -> GaussianMixture:
    """The mixture before its first pass."""
    recipe = GaussianMixture(
        settings.components,
        max_iter=0,
        tol=settings.tolerance,
        method=settings.method,
        random_state=settings.seed,
    )
    return _quietly(recipe, stream)


def _quietly(mixture: GaussianMixture, stream: MapStream | Passes) -> GaussianMixture:
    """The mixture after `fit`; that passes end before convergence is what the user asked for, and no news."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", message=".*variance_floor")  # dead ReLU units; the floor holds them
        return mixture.fit(stream)


def _save(folder: Path, mixture: GaussianMixture) -> None:
    save_model(folder, mixture.to_tensors(), mixture.info())
