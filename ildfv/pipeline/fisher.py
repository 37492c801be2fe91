"""The Fisher vectors of all slices, part by part: stored where they are short, computed again where they are not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import numpy as np

from ildfv import distributed
from ildfv.arrays import to_numpy
from ildfv.pipeline.rounds import Made, write_rounds
from ildfv.progress import SILENT, Progress
from ildfv.store.encodings import FISHER_LIMIT
from ildfv.store.parts import Parts
from ildfv.stream import MapStream, batches, by_part

ROWS_BYTES = 8 << 20  # Fisher vectors handed to a fit at once: sums of d² numbers are not worth touching for a few


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
            write_rounds(self.folder, self.slices, self._made, label=label, progress=progress)

    def of_parts(self, parts: Sequence[int]) -> Iterator[np.ndarray]:
        """The Fisher vectors of each of these parts, float32 (m, 2·k·d)."""
        starts = self.slices.starts
        return self.of({part: np.arange(starts[part], starts[part + 1]) for part in parts})

    def of(self, wanted: dict[int, np.ndarray]) -> Iterator[np.ndarray]:
        """For each part, the Fisher vectors of these of its slices, float32 (m, 2·k·d)."""
        if not self.stored:
            yield from self._encoded(wanted.values())
            return
        parts = Parts(self.folder)
        for part, indices in wanted.items():
            with parts.open(self.slices.names[part]) as file:
                yield file["fisher"][()][indices - self.slices.starts[part]]

    def rows_of(self, indices: np.ndarray, progress: Progress = SILENT, label: str = "") -> Rows:
        """Restartable stream of the Fisher vectors of these slices, this rank's share."""
        return Rows(self, np.sort(np.asarray(indices)), progress, label)

    def _made(self, parts: Sequence[int]) -> Made:
        starts = self.slices.starts
        for rows in self._encoded([np.arange(starts[part], starts[part + 1]) for part in parts]):
            yield {"fisher": rows}

    def _encoded(self, groups) -> Iterator[np.ndarray]:
        """The Fisher vectors of each group of slices, all in one stream: no stage waits where a group ends."""
        groups = [batches(self.slices, indices, self.settings.batch_size) for indices in groups]
        every = [batch for group in groups for batch in group]
        stream = MapStream(self.slices, self.activations, every, then=self._transform)
        with closing(iter(stream)) as vectors:
            for group in groups:
                yield np.concatenate([next(vectors) for _ in group])

    def _transform(self, maps) -> np.ndarray:
        return to_numpy(self.encoder.transform(maps))


@dataclass(frozen=True)
class Rows:
    """Iterating gives (m, 2·k·d) float32 arrays of about ROWS_BYTES, again and again."""

    vectors: FisherVectors
    indices: np.ndarray
    progress: Progress
    label: str

    def __iter__(self) -> Iterator[np.ndarray]:
        waiting: list[np.ndarray] = []
        for _, rows in self.by_part():
            waiting.append(rows)
            if sum(one.nbytes for one in waiting) >= ROWS_BYTES:
                whole, waiting = np.concatenate(waiting), []
                yield whole
        if waiting:
            yield np.concatenate(waiting)

    def gathered(self) -> np.ndarray:
        """All ranks' rows as one array, in the order of the slices: the same for any number of ranks."""
        shares = distributed.gather(list(self.by_part()))
        return np.concatenate(
            [rows for _, rows in sorted((pair for share in shares for pair in share), key=itemgetter(0))]
        )

    def by_part(self) -> Iterator[tuple[int, np.ndarray]]:
        """(number of the part, its rows) for each part of this rank's share."""
        wanted = by_part(self.vectors.slices, self.indices)
        mine = {part: wanted[part] for part in distributed.share(list(wanted))}
        with self.progress.task(self.label, total=sum(map(len, mine.values()))) as advance:
            for part, rows in zip(mine, self.vectors.of(mine), strict=True):
                yield part, rows
                advance(len(rows))
