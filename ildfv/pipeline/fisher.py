"""The Fisher vectors of all slices, part by part: stored where they are short, computed again where they are not."""

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

ROWS_BYTES = 8 << 20  # Fisher vectors handed to a fit at once: sums of d² numbers are not worth touching for a few
FEWEST = 64  # rows handed over where vectors are long


class FisherVectors:
    """The Fisher vectors of a slice set under one mixture, float32, by part or as a stream of a role's rows.

    encoder: what makes them, anything whose `transform` turns maps (b, d, h, w) into vectors (b, length).
    """

    def __init__(self, folder: Path, slices, activations, encoder, length: int, settings):
        self.folder, self.slices, self.activations, self.settings = Path(folder), slices, activations, settings
        self.encoder, self.length = encoder, length
        self.stored = self.length <= FISHER_LIMIT

    def write(self, progress: Progress) -> None:
        """Stores all parts that are not there yet; nothing where the vectors are too long to keep."""
        if self.stored:
            label = f"{self.settings.layer}: Fisher vectors"
            write_parts(self.folder, self.slices, self._made, label=label, progress=progress)

    def pieces(self, wanted: dict[int, np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
        """(number of the part, Fisher vectors float32 (m, 2·k·d)) of these slices of these parts, piece by piece.

        A piece is a part where vectors are stored, else a batch: of fc6, a part of 500 slices would be 500 MB.
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
        """All slices of each of these parts."""
        starts = self.slices.starts
        return {part: np.arange(starts[part], starts[part + 1]) for part in parts}

    def rows_of(self, indices: np.ndarray, progress: Progress = SILENT, label: str = "") -> Rows:
        """Restartable stream of the Fisher vectors of these slices, this rank's share."""
        return Rows(self, np.sort(np.asarray(indices)), progress, label)

    def _made(self, parts: Sequence[int]) -> Made:
        cut = [self._batches(indices) for indices in self.whole(parts).values()]
        # All in one stream: no stage waits where a part ends.
        with closing(self._encoded([batch for part in cut for batch in part])) as vectors:
            for part in cut:
                yield {"fisher": np.concatenate([next(vectors) for _ in part])}

    def _batches(self, indices: np.ndarray) -> list[np.ndarray]:
        return batches(self.slices, indices, self.settings.batch_size)

    def _encoded(self, cut: list[np.ndarray]) -> Generator[np.ndarray, None, None]:
        """The Fisher vectors of each batch of slices."""
        yield from MapStream(self.slices, self.activations, cut, then=self._transform)

    def _transform(self, maps) -> np.ndarray:
        return to_numpy(self.encoder.transform(maps))


@dataclass(frozen=True)
class Rows:
    """Iterating gives (m, 2·k·d) float32 arrays of about ROWS_BYTES, or FEWEST rows, again and again."""

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
        """All ranks' rows as one array, in the order of the slices: the same for any number of ranks."""
        shares = distributed.gather(list(self.pieces()))
        return np.concatenate(
            [rows for _, rows in sorted((pair for share in shares for pair in share), key=itemgetter(0))]
        )

    def pieces(self) -> Iterator[tuple[int, np.ndarray]]:
        """(number of the part, rows) of the parts of this rank's share, piece by piece."""
        wanted = by_part(self.vectors.slices, self.indices)
        mine = {part: wanted[part] for part in distributed.share(list(wanted))}
        with self.progress.task(distributed.of_share(self.label), total=sum(map(len, mine.values()))) as advance:
            for part, rows in self.vectors.pieces(mine):
                yield part, rows
                advance(len(rows))
