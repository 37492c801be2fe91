"""Slices → batches of activation maps, read, computed and used at once, as often as wanted, nothing stored."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Protocol

import numpy as np

from ildfv.arrays import to_numpy
from ildfv.kernels.cuda.oom import OomRetry
from ildfv.streaming import transfer
from ildfv.streaming.prefetch import prefetch
from ildfv.streaming.threads import in_order, split_cores

BATCH_SIZE = 16  # slices a batch: conv1 maps of 16 slices are 12 MB, small beside the caches' next level
SAMPLE_SLICES = 256


class SliceSource(Protocol):
    """What a stream asks of a slice set: `len`, `images(indices)`, and where its parts begin. `Slices` is one."""

    starts: np.ndarray

    def __len__(self) -> int: ...

    def images(self, indices) -> np.ndarray: ...


def batches(slices: SliceSource, indices, batch_size: int = BATCH_SIZE) -> list[np.ndarray]:
    """The indices, ascending, cut into batches that never cross a part.

    So a part's batches are the same whoever computes it, after whatever restart, and its bytes with them.
    """
    return [
        rows[start : start + batch_size]
        for rows in by_part(slices, np.sort(np.asarray(indices, dtype=np.int64))).values()
        for start in range(0, len(rows), batch_size)
    ]


def by_part(slices: SliceSource, indices: np.ndarray) -> dict[int, np.ndarray]:
    """The ascending indices by the number of the part that holds them; parts without any are left out."""
    edges = np.searchsorted(indices, slices.starts)  # (parts + 1,)
    return {part: indices[edges[part] : edges[part + 1]] for part in np.flatnonzero(np.diff(edges)).tolist()}


class MapStream:
    """Restartable stream of one layer's activation maps: iterating gives (b, d, h, w) arrays, batch by batch.

    activations: images uint8 (b, 3, 224, 224) → maps. then: what is made of the maps, by default nothing; its results
    are given in their place. On the CPU whole batches are read, computed and used side by side, one to a worker, so
    that all cores are busy all the time. On a GPU reading, copying, network and `then` run at once, and a batch that
    does not fit is computed in halves; `note` is told. The order is that of the batches. `advance` is told the number
    of slices of each batch that was taken and done with.
    """

    def __init__(
        self,
        slices: SliceSource,
        activations: Callable,
        batches: Sequence[np.ndarray],
        *,
        then: Callable = lambda maps: maps,
        advance: Callable = lambda n: None,
        note: Callable = lambda text: None,
    ):
        self.slices, self.activations, self.batches = slices, activations, batches
        self.then, self.advance, self.note = then, advance, note

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
            return self._on_gpu(device)
        workers, threads = split_cores()
        return in_order(self._one, self.batches, workers=workers, threads=threads)

    def _one(self, batch: np.ndarray):
        return self.then(self.activations(self.slices.images(batch)))

    def _on_gpu(self, device: str) -> Generator:
        from ildfv.streaming.graphs import Graphed

        images = prefetch(self.slices.images(batch) for batch in self.batches)
        gpu = transfer.Gpu(device)
        steps = Graphed(self.activations, note=self.note), self.then
        network, then = (OomRetry(step, note=self.note).joined for step in steps)
        maps = prefetch(transfer.on_side_stream(network, transfer.to_device(images, gpu), gpu), depth=1)
        return (then(one) for one in transfer.arrived(maps, gpu))

    def sample(self, size: int, seed: int) -> np.ndarray:
        """At most `size` descriptors, (size, d), equally many from each of some slices spread over the stream.

        For the mixture's start only: far cheaper than a pass over all slices, and wide enough to start from. Where
        slices have few descriptors (`activations.n`) more are read than SAMPLE_SLICES, up to an eighth of all.
        """
        indices = np.concatenate(self.batches)
        enough = -(-size // getattr(self.activations, "n", size))  # slices
        number = max(SAMPLE_SLICES, min(enough, len(indices) // 8))
        chosen = indices[np.unique(np.linspace(0, len(indices) - 1, number).astype(np.int64))]
        random = np.random.default_rng(seed)
        drawn = []
        for maps in MapStream(self.slices, self.activations, batches(self.slices, chosen)):
            for one in to_numpy(maps):  # (d, h, w)
                descriptors = one.reshape(len(one), -1)  # (d, n)
                take = min(descriptors.shape[1], -(-size // len(chosen)))
                drawn.append(descriptors[:, random.choice(descriptors.shape[1], take, replace=False)].T)
        rows = np.concatenate(drawn)  # a few more than wanted: some of all slices are left out, not all of some
        return rows[np.linspace(0, len(rows) - 1, min(size, len(rows))).astype(np.int64)]
