"""The mixture of an encoding, fitted by EM on all descriptors of the fit slices and saved after each pass.

Stepwise EM divides a pass into steps of a few slices each, and updates the mixture after every step. Exact EM updates
it once per pass.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from ildfv import distributed
from ildfv.counted import counted
from ildfv.estimators.mixture_model import MixtureModel
from ildfv.estimators.mixture_warnings import FALL
from ildfv.progress import Progress
from ildfv.store.atomic import sweep
from ildfv.store.models import has_model, load_model, save_model
from ildfv.streaming.maps import MapStream, batches

STEPS = 256  # approximate number of steps of a stepwise pass, if there are enough slices
STEP_BATCHES = 4  # approximate number of batches per step, if there are many slices; up to 4 ranks can share a step
EXPECTED = (
    "EM has not converged",  # the number of passes is limited intentionally
    ".*variance_floor",  # dead ReLU units have no variance
)
FEW_SLICES = (
    f"{FALL}, because each step has only a few slices, which differ between steps: encode again with "
    "`ildfv encode --method exact --fresh` and the layer, region and fold of this encoding"
)
STEP_ROWS = 32  # approximate minimum number of descriptors per component in one step


def fit(
    folder: Path, slices, activations, indices: np.ndarray, settings, progress: Progress, *, weights=None, memory=None
) -> MixtureModel:
    """The mixture fitted on the descriptors of the slices `indices` and saved in `folder`. A saved fit is resumed.

    Rank 0 computes the initial mixture. Each rank then computes sums over its share of the batches, or of the slices of
    each step, and all ranks perform the same M steps. weights: function from slice indices to the weights of their
    descriptors, see `regions`. memory: see `MapStream`.
    """
    if distributed.is_main():
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        if not has_model(folder):
            progress.note(f"{settings.layer}: the mixture is initialised from a sample of descriptors")
            every = batches(slices, indices, settings.batch_size)
            stream = MapStream(slices, activations, every, weights=weights, memory=memory)
            _save(folder, _start(stream, settings, progress))
    distributed.barrier()
    mixture = MixtureModel.from_tensors(*load_model(folder))
    if mixture.converged_ or mixture.n_iter_ >= settings.passes:
        return mixture
    mixture.max_iter, mixture.warm_start = settings.passes, True
    mixture.reduce = distributed.sum_arrays if distributed.size() > 1 or settings.method == "stepwise" else None
    # The steps must not depend on the number of ranks.
    mixture.gather = distributed.gather if settings.method == "stepwise" else None
    mixture.callback = lambda *_: _save(folder, mixture) if distributed.is_main() else None
    shares = _shares(slices, activations, indices, settings)
    mine = [batch for share in shares for batch in share.batches]
    stream = MapStream(slices, activations, mine, weights=weights, memory=memory, note=progress.note)
    _fitted(mixture, Passes(mixture, stream, shares, settings.layer, progress), settings.layer, progress)
    passes = counted(mixture.n_iter_, "pass", "passes")
    progress.note(f"{settings.layer}: mean log likelihood {mixture.lower_bound_:.4f} after {passes}")
    return mixture


@dataclass(frozen=True)
class Share:
    """This rank's batches (possibly none) from a group of consecutive batches that is divided into EM steps."""

    batches: list[np.ndarray]
    before: int  # number of slices of the group that belong to lower ranks
    size: int  # number of slices of the group
    steps: int  # number of steps of the group

    def cut(self, maps: Iterator) -> Iterator[list]:
        """Yields this rank's maps for each step, taken from `maps`. The steps are as equal in size as possible."""
        held = [next(maps) for _ in self.batches]
        edges = [self.size * step // self.steps - self.before for step in range(self.steps + 1)]
        for start, stop in pairwise(edges):
            yield list(_rows(held, start, stop))


def _rows(maps: list, start: int, stop: int) -> Iterator:
    """Yields the rows `start` to `stop` of the concatenated arrays, as views."""
    for one in maps:
        if start < len(one) and stop > 0:
            yield one[max(start, 0) : min(stop, len(one)), ...]
        start, stop = start - len(one), stop - len(one)


def _shares(slices, activations, indices: np.ndarray, settings) -> list[Share]:
    """This rank's share of each batch (exact EM) or of each group of steps (stepwise EM).

    Ranks receive whole batches, because the last bits of a network's output depend on the batch. With many slices, a
    step consists of several batches. With few slices, a batch is divided into several steps, because the network is
    slower with small batches.
    """
    every = batches(slices, indices, settings.batch_size)
    if settings.method == "exact":
        return [Share([batch], 0, len(batch), steps=1) for batch in distributed.share(every)]
    fewest = -(-STEP_ROWS * settings.components // activations.n)  # minimum number of slices per step
    size = max(fewest, min(STEP_BATCHES * settings.batch_size, len(indices) // STEPS))
    return [_share(group, size, turn) for turn, group in enumerate(_groups(every, size))]


def _share(group: list[np.ndarray], size: int, turn: int) -> Share:
    """This rank's share of a group whose steps have about `size` slices."""
    mine, slices = distributed.run_of(group, turn), sum(map(len, group))
    before = int(np.searchsorted(np.concatenate(group), mine[0][0])) if mine else 0  # indices ascend
    return Share(mine, before, slices, steps=max(1, round(slices / size)))


def _groups(every: list[np.ndarray], size: int) -> list[list[np.ndarray]]:
    """The batches in groups of at least `size` slices. If there are several, the last has at least size / 2 slices."""
    groups: list[list[np.ndarray]] = [[]]
    for batch in every:
        if sum(map(len, groups[-1])) >= size:
            groups.append([])
        groups[-1].append(batch)
    if len(groups) > 1 and sum(map(len, groups[-1])) < size / 2:
        rest = groups.pop()
        groups[-1] += rest
    return groups


@dataclass(frozen=True)
class Passes:
    """An iterable of the maps of each step, as lists that may be empty. Each iteration is one EM pass.

    Each pass is one task of the progress display.
    """

    mixture: MixtureModel
    stream: MapStream
    shares: list[Share]
    layer: str
    progress: Progress

    def __iter__(self) -> Iterator:
        label = distributed.of_share(f"{self.layer}: EM pass {self.mixture.n_iter_ + 1}")
        with (
            self.progress.task(label, total=len(self.stream)) as self.stream.advance,
            closing(iter(self.stream)) as maps,
        ):
            for share in self.shares:
                yield from share.cut(maps)
            next(maps, None)  # advances the progress for the last batch


def _start(stream: MapStream, settings, progress: Progress) -> MixtureModel:
    """The initial mixture, before the first pass."""
    recipe = MixtureModel(
        settings.components,
        max_iter=0,
        tol=settings.tolerance,
        method=settings.method,
        random_state=settings.seed,
    )
    return _fitted(recipe, stream, settings.layer, progress)


def _fitted(mixture: MixtureModel, stream: MapStream | Passes, layer: str, progress: Progress) -> MixtureModel:
    """The mixture after `fit`. Warnings are shown as notes, except the `EXPECTED` warnings."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        for expected in EXPECTED:
            warnings.filterwarnings("ignore", message=expected)
        mixture.fit(stream)
    for message in dict.fromkeys(str(one.message) for one in found):
        progress.note(f"{layer}: {FEW_SLICES if message.startswith(FALL) else message}")
    return mixture


def _save(folder: Path, mixture: MixtureModel) -> None:
    save_model(folder, mixture.to_tensors(), mixture.info())
