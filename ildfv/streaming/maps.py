"""Restartable streams of activation maps, computed from the slices on every pass or kept in memory."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Any, Protocol

import numpy as np

from ildfv.arrays import to_numpy
from ildfv.errors import check
from ildfv.streaming.memory import MapMemory
from ildfv.streaming.threads import in_order, split_cores
from ildfv.weighted import Weighted, split

BATCH_SIZE = 16  # slices per batch: conv1 maps of 16 slices take 12 MB
SAMPLE_SLICES = 256  # minimum number of slices from which descriptors are sampled, if there are that many


class SliceSource(Protocol):
    """Protocol of a slice set that can be streamed, such as `datasets.slice_store.Slices`."""

    starts: np.ndarray  # the first slice of each part, and the end

    def __len__(self) -> int: ...

    def images(self, indices) -> np.ndarray:
        """Images of the slices, uint8 (b, 3, 224, 224)."""


def batches(slices: SliceSource, indices, batch_size: int = BATCH_SIZE) -> list[np.ndarray]:
    """The indices in ascending order, divided into batches, int64 (b,) each. A batch has slices of a single part.

    The batches of a part, and therefore the bytes of its file, are the same on any rank and after any restart.
    """
    return [
        rows[start : start + batch_size]
        for rows in by_part(slices, np.sort(np.asarray(indices, dtype=np.int64))).values()
        for start in range(0, len(rows), batch_size)
    ]


def by_part(slices: SliceSource, indices: np.ndarray) -> dict[int, np.ndarray]:
    """The ascending indices, grouped by the number of the part that contains them; other parts are omitted."""
    edges = np.searchsorted(indices, slices.starts)  # (parts + 1,)
    return {part: indices[edges[part] : edges[part + 1]] for part in np.flatnonzero(np.diff(edges)).tolist()}


class MapStream:
    """Restartable stream of one layer's activation maps: iterating yields (b, d, h, w) arrays, one per batch, in order.

    activations: images uint8 (b, 3, 224, 224) → maps. then: a function that is applied to the maps; the stream yields
    its results. weights: slice indices (b,) → weights of their descriptors (b, n); the maps are then `Weighted`.
    memory: keeps maps and their weights for later passes. Streams of the same slices, activations and weights may share
    it. advance: called with the number of slices of a batch after the batch has been consumed. note: called with
    messages.

    On a CPU, each worker thread (`split_cores`) reads and computes whole batches. On a GPU, reading, copying, the
    network and `then` overlap; if memory runs out, the batch size is halved. `memory` is not used on a GPU.
    """

    def __init__(
        self,
        slices: SliceSource,
        activations: Callable,
        batches: Sequence[np.ndarray],
        *,
        then: Callable = lambda maps: maps,
        weights: Callable[[np.ndarray], np.ndarray] | None = None,
        memory: MapMemory | None = None,
        advance: Callable = lambda n: None,
        note: Callable = lambda text: None,
    ):
        self.slices, self.activations, self.batches = slices, activations, batches
        self.then, self.weights, self.advance, self.note = then, weights, advance, note
        self.memory = MapMemory(0) if memory is None else memory

    def __len__(self) -> int:
        """The number of slices."""
        return sum(len(batch) for batch in self.batches)

    def __iter__(self) -> Generator:
        with closing(self._computed()) as computed:
            for batch, result in zip(self.batches, computed, strict=True):
                yield result
                self.advance(len(batch))

    def _computed(self) -> Generator:
        device = str(getattr(self.activations, "device", "cpu"))
        if device != "cpu":
            from ildfv.streaming.feeding import on_gpu  # imported here because it needs torch

            images = map(self.slices.images, self.batches)
            if self.weights is None:
                return on_gpu(self.activations, images, device, then=self.then, note=self.note)
            maps = on_gpu(self.activations, images, device, then=lambda maps: maps, note=self.note)
            return (self.then(self._weighted(result, batch)) for result, batch in zip(maps, self.batches, strict=True))
        workers, threads = split_cores()
        return in_order(self._result, self.batches, workers=workers, threads=threads)

    def _result(self, batch: np.ndarray):
        return self.then(self.memory.maps(batch, self._maps))

    def _maps(self, batch: np.ndarray):
        return self._weighted(self.activations(self.slices.images(batch)), batch)

    def _weighted(self, maps, batch: np.ndarray):
        return maps if self.weights is None else Weighted(maps, self.weights(batch))

    def sample(self, size: int, seed: int) -> np.ndarray:
        """At most `size` descriptors, (m, d), from several evenly spaced slices, an equal number from each if possible.

        The descriptors initialise a mixture. Sampling is much faster than a pass over all slices: SAMPLE_SLICES slices
        are read or, if slices have few descriptors (`activations.n`), up to an eighth of all slices. InputError: the
        sampled slices have no descriptors of weight above 0.
        """
        indices = np.concatenate(self.batches)
        enough = -(-size // getattr(self.activations, "n", size))  # slices
        number = max(SAMPLE_SLICES, min(enough, len(indices) // 8))
        chosen = indices[np.unique(np.linspace(0, len(indices) - 1, number).astype(np.int64))]
        random = np.random.default_rng(seed)
        drawn = []
        options: dict[str, Any] = {"weights": self.weights, "memory": self.memory}
        for batch in MapStream(self.slices, self.activations, batches(self.slices, chosen), **options):
            maps, weights = split(batch)
            for i, activation_map in enumerate(to_numpy(maps)):  # (d, h, w)
                descriptors = activation_map.reshape(len(activation_map), -1)  # (d, n)
                if weights is not None and not weights[i].any():
                    continue
                shares = None if weights is None else weights[i] / weights[i].sum()
                available = descriptors.shape[1] if shares is None else np.count_nonzero(shares)
                take = min(available, -(-size // len(chosen)))
                drawn.append(descriptors[:, random.choice(descriptors.shape[1], take, replace=False, p=shares)].T)
        check(
            len(drawn) > 0,
            f"slices must have descriptors in the region, got none in {len(chosen)} sampled slices: see which slices "
            "show lung in `ildfv view`, prepare the scans with other lung masks, or use region slice",
        )
        rows = np.concatenate(drawn)  # may have slightly more than `size` rows: some are omitted at even intervals
        return rows[np.linspace(0, len(rows) - 1, min(size, len(rows))).astype(np.int64)]
