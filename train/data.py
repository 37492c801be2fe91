"""Shuffled batches of an epoch, divided among ranks and prefetched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from ildfv import distributed
from ildfv.errors import check
from ildfv.progress import SILENT, Progress
from ildfv.streaming.threads import in_order

READ = 64  # slices read at once, except in training steps
SHIFT = 8  # pixels: largest shift in data augmentation


class SliceSet(Protocol):
    """Protocol of a slice set for training, such as `ildfv.datasets.slice_store.Slices`."""

    counts: np.ndarray  # (N, c), −1 where unknown
    key: str

    @property
    def patients(self) -> np.ndarray:
        """(N,)."""

    @property
    def lung(self) -> np.ndarray | None:
        """(N,) lung pixels, needed only if the threshold of presence is in percent of them."""

    def __len__(self) -> int: ...

    def images(self, indices) -> np.ndarray:
        """uint8 (m, 3, 224, 224)."""


class Batch(NamedTuple):
    """This rank's share of the slices of one step. It may be empty."""

    images: np.ndarray  # uint8 (b, 3, 224, 224)
    indices: np.ndarray  # (b,) of the slices in the slice set
    rows: np.ndarray  # (b,) consecutive positions in the step's whole batch
    whole: np.ndarray  # (total,) indices of the step's whole batch
    shards: list[range]  # non-empty shards of this rank: positions in this batch that are computed together

    @property
    def total(self) -> int:
        """Number of slices in the step's whole batch."""
        return len(self.whole)


@dataclass(frozen=True)
class Epoch:
    """The batches of one pass over the slices `indices`, in an order that depends on seed and epoch only.

    Every slice occurs once. Batch sizes differ by at most one, so there is no small last batch with a noisy gradient.
    """

    slices: SliceSet
    indices: np.ndarray
    batch_size: int
    seed: int
    epoch: int
    augment: bool = False
    first: int = 0  # the step at which iteration starts
    shards: int = 1  # number of shards into which the slices of a step are divided

    def size(self, steps: int) -> int:
        """Number of slices in the first `steps` steps."""
        least, more = divmod(len(self.indices), len(self))
        return steps * least + min(steps, more)

    def __len__(self) -> int:
        """Steps per epoch."""
        return -(-len(self.indices) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.indices)
        steps = list(enumerate(np.array_split(order, len(self))))[self.first :]
        return in_order(self._read, steps, workers=1)

    def _read(self, item: tuple[int, np.ndarray]) -> Batch:
        step, whole = item[0], np.sort(item[1])
        mine = distributed.run_of(np.array_split(np.arange(len(whole)), self.shards))
        rows = np.concatenate([np.empty(0, np.int64), *mine])
        shards = [range(places[0] - rows[0], places[-1] + 1 - rows[0]) for places in mine if len(places)]
        images = self.slices.images(whole[rows])
        if self.augment:
            draw = np.random.default_rng([self.seed, self.epoch, step])
            images = augmented(
                images, draw.integers(0, 2, len(whole))[rows], draw.integers(0, 2 * SHIFT + 1, (len(whole), 2))[rows]
            )
        return Batch(images, whole[rows], rows, whole, shards)


def augmented(images: np.ndarray, flip: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Images (b, 3, h, w), shifted down and right by SHIFT − `shift` (b, 2) pixels, then mirrored where `flip` is 1.

    The border is filled by repeating edge pixels. flip: (b,).
    """
    h, w = images.shape[2:]
    padded = np.pad(images, ((0, 0), (0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT)), mode="edge")
    out = np.empty_like(images)
    for i, (y, x) in enumerate(shift):
        moved = padded[i, :, y : y + h, x : x + w]
        out[i] = moved[..., ::-1] if flip[i] else moved
    return out


def labelled_only(slices: SliceSet, indices) -> np.ndarray:
    """The unique indices in ascending order, without slices that have no label of any pattern.

    InputError: an index is out of range.
    """
    indices = np.unique(np.asarray(indices, dtype=np.int64))
    if indices.size:
        check(
            indices[0] >= 0 and indices[-1] < len(slices),
            f"slice indices must be in [0, {len(slices)}), got {indices[0]} … {indices[-1]}",
        )
    return indices[(np.asarray(slices.counts)[indices] >= 0).any(axis=1)]


def train_mean_std(slices: SliceSet, indices, *, progress: Progress = SILENT) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each window over these slices, (3,) and (3,), float64, in grey levels.

    The slices must be those of training patients. The result is computed from integer histograms, whose sums are exact,
    so it is the same in any order and on any number of ranks. A window without contrast has standard deviation 1.
    """
    indices = np.sort(np.asarray(indices, dtype=np.int64))
    check(len(indices) > 0, "mean and standard deviation need at least one slice, got none")
    histogram = np.zeros((3, 256))
    with progress.task("Measuring grey levels", total=len(indices)) as advance:
        for start in range(0, len(indices), READ * distributed.size()):
            mine = distributed.share(indices[start : start + READ * distributed.size()])
            for window, levels in enumerate(slices.images(mine).transpose(1, 0, 2, 3) if len(mine) else ()):
                histogram[window] += np.bincount(levels.ravel(), minlength=256)
            advance(min(READ * distributed.size(), len(indices) - start))
    histogram = distributed.sum_arrays({"levels": histogram})["levels"]  # (3, 256)
    level, n = np.arange(256.0), histogram.sum(axis=1)
    mean = histogram @ level / n
    variance = (histogram * (level - mean[:, None]) ** 2).sum(axis=1) / n
    return mean, np.where(variance > 0, np.sqrt(variance), 1.0)
