"""The vectors of all slices, in parts. Short vectors are stored. Long vectors are recomputed whenever they are read."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import numpy as np

from ildfv import distributed
from ildfv.arrays import to_numpy
from ildfv.pipeline.encodings import FISHER_LIMIT
from ildfv.pipeline.write_parts import Made, write_parts
from ildfv.progress import SILENT, Progress
from ildfv.store.parts import Parts
from ildfv.streaming.maps import MapStream, batches, by_part

ROWS_BYTES = 8 << 20  # bytes per batch of a PCA fit; batches are large, because each batch updates a d×d matrix
FEWEST = 64  # minimum number of rows per batch, for long vectors


class FisherVectors:
    """The vectors of all slices with one encoder, float32, in parts or as a stream of the vectors of some slices.

    encoder: an object whose `transform` converts maps (b, d, h, w) to vectors (b, length). weights: function from slice
    indices to the weights of their descriptors, see `regions`. memory: see `MapStream`.
    """

    def __init__(self, folder: Path, slices, activations, encoder, length: int, settings, weights=None, memory=None):
        self.folder, self.slices, self.activations, self.settings = Path(folder), slices, activations, settings
        self.encoder, self.length, self.weights, self.memory = encoder, length, weights, memory
        self.stored = self.length <= FISHER_LIMIT

    def write(self, progress: Progress) -> None:
        """Stores all missing parts. Does nothing if the vectors are longer than FISHER_LIMIT."""
        if self.stored:
            label = f"{self.settings.layer}: Fisher vectors"
            write_parts(self.folder, self.slices, self._made, label=label, progress=progress)

    def pieces(self, wanted: dict[int, np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
        """Yields (number of the part, vectors float32 (m, length)) of the given slices of each part.

        Stored vectors of a part are yielded together. Vectors that are not stored are yielded in batches, because those
        of 500 slices of fc6 would take 500 MB.
        """
        if self.stored:
            parts = Parts(self.folder)
            for part, indices in wanted.items():
                with parts.open(self.slices.names[part]) as file:
                    yield part, file["fisher"][()][indices - self.slices.starts[part]]
            return
        cut = [(part, batch) for part, indices in wanted.items() for batch in self._batches(indices)]
        with closing(self._encoded([batch for _, batch in cut])) as vectors:
            for (part, _), rows in zip(cut, vectors, strict=True):
                yield part, rows

    def whole(self, parts: Sequence[int]) -> dict[int, np.ndarray]:
        """The indices of all slices of each of these parts."""
        starts = self.slices.starts
        return {part: np.arange(starts[part], starts[part + 1]) for part in parts}

    def rows_of(self, indices: np.ndarray, progress: Progress = SILENT, label: str = "") -> Rows:
        """An iterable of this rank's share of the vectors of these slices. It can be iterated several times."""
        return Rows(self, np.sort(np.asarray(indices)), progress, label)

    def _made(self, parts: Sequence[int]) -> Made:
        cut = [self._batches(indices) for indices in self.whole(parts).values()]
        # All parts share one stream, so that its stages are busy at the end of a part.
        with closing(self._encoded([batch for part in cut for batch in part])) as vectors:
            for part in cut:
                yield {"fisher": np.concatenate([next(vectors) for _ in part])}

    def _batches(self, indices: np.ndarray) -> list[np.ndarray]:
        return batches(self.slices, indices, self.settings.batch_size)

    def _encoded(self, cut: list[np.ndarray]) -> Generator[np.ndarray, None, None]:
        """Yields the vectors of each batch of slices."""
        given = {"weights": self.weights, "memory": self.memory}
        yield from MapStream(self.slices, self.activations, cut, then=self._transform, **given)

    def _transform(self, maps) -> np.ndarray:
        return to_numpy(self.encoder.transform(maps))


@dataclass(frozen=True)
class Rows:
    """An iterable of float32 arrays (m, length) with about ROWS_BYTES, or at least FEWEST rows.

    It can be iterated several times.
    """

    vectors: FisherVectors
    indices: np.ndarray
    progress: Progress
    label: str

    def __iter__(self) -> Iterator[np.ndarray]:
        waiting: list[np.ndarray] = []
        enough = max(ROWS_BYTES, FEWEST * self.vectors.length * 4)
        for _, rows in self.pieces():
            waiting.append(rows)
            if sum(one.nbytes for one in waiting) >= enough:
                whole, waiting = np.concatenate(waiting), []
                yield whole
        if waiting:
            yield np.concatenate(waiting)

    def gathered(self) -> np.ndarray:
        """The rows of all ranks as one array in slice order, which does not depend on the number of ranks."""
        shares = distributed.gather(list(self.pieces()))
        return np.concatenate(
            [rows for _, rows in sorted((pair for share in shares for pair in share), key=itemgetter(0))]
        )

    def pieces(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yields (number of the part, rows) for the parts of this rank's share, as `FisherVectors.pieces` does."""
        wanted = by_part(self.vectors.slices, self.indices)
        mine = {part: wanted[part] for part in distributed.share(list(wanted))}
        with self.progress.task(distributed.of_share(self.label), total=sum(map(len, mine.values()))) as advance:
            for part, rows in self.vectors.pieces(mine):
                yield part, rows
                advance(len(rows))
