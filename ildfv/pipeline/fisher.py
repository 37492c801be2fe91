"""The Fisher vectors of all slices, part by part: stored where they are short, computed again where they are not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import numpy as np

from ildfv import distributed
from ildfv.arrays import to_numpy
from ildfv.pipeline.rounds import write_rounds
from ildfv.progress import SILENT, Progress
from ildfv.store.encodings import FISHER_LIMIT
from ildfv.store.parts import Parts
from ildfv.stream import MapStream, batches


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
        if not self.stored:
            return
        write_rounds(
            self.folder,
            self.slices,
            lambda name: {"fisher": self._encode(self._rows(name))},
            label=f"{self.settings.layer}: Fisher vectors",
            progress=progress,
        )

    def part(self, name: str) -> np.ndarray:
        """The Fisher vectors of one part, float32 (m, 2·k·d)."""
        if not self.stored:
            return self._encode(self._rows(name))
        with Parts(self.folder).open(name) as file:
            return file["fisher"][()]

    def rows_of(self, indices: np.ndarray, progress: Progress = SILENT, label: str = "") -> Rows:
        """Restartable stream of the Fisher vectors of these slices, this rank's share, a part's rows at a time."""
        return Rows(self, np.sort(np.asarray(indices)), progress, label)

    def _rows(self, name: str) -> np.ndarray:
        part = self.slices.names.index(name)
        return np.arange(self.slices.starts[part], self.slices.starts[part + 1])

    def _encode(self, indices: np.ndarray) -> np.ndarray:
        stream = MapStream(self.slices, self.activations, batches(self.slices, indices, self.settings.batch_size))
        return np.concatenate([to_numpy(self.encoder.transform(maps)) for maps in stream])


@dataclass(frozen=True)
class Rows:
    """Iterating gives (m, 2·k·d) float32 arrays, one a part, again and again."""

    vectors: FisherVectors
    indices: np.ndarray
    progress: Progress
    label: str

    def __iter__(self) -> Iterator[np.ndarray]:
        return (rows for _, rows in self.by_part())

    def gathered(self) -> np.ndarray:
        """All ranks' rows as one array, in the order of the slices: the same for any number of ranks."""
        shares = distributed.gather(list(self.by_part()))
        return np.concatenate(
            [rows for _, rows in sorted((pair for share in shares for pair in share), key=itemgetter(0))]
        )

    def by_part(self) -> Iterator[tuple[int, np.ndarray]]:
        """(number of the part, its rows) for each part of this rank's share."""
        slices = self.vectors.slices
        part_of = np.searchsorted(slices.starts, self.indices, side="right") - 1
        mine = distributed.share(np.unique(part_of).tolist())
        with self.progress.task(self.label, total=int(np.isin(part_of, mine).sum())) as advance:
            for part in mine:
                wanted = self.indices[part_of == part]
                if self.vectors.stored:
                    rows = self.vectors.part(slices.names[part])[wanted - slices.starts[part]]
                else:
                    rows = self.vectors._encode(wanted)
                yield part, rows
                advance(len(rows))
