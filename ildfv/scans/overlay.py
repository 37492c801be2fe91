"""Several label maps of one scan, or overlapping segments of one file, combined voxel by voxel."""

from __future__ import annotations

import numpy as np

from ildfv.errors import InputError
from ildfv.scans.labels import MEANINGS, OTHER, OUTSIDE, Codes


class Overlay:
    """`meanings`: the index into `MEANINGS` of each voxel, uint8 (z, y, x), combined from all added label maps.

    Any other meaning replaces "outside", and any meaning except "outside" replaces "other". Two other meanings that
    differ in one voxel contradict each other, unless the code table gives them a priority.
    """

    def __init__(self, shape: tuple[int, ...], codes: Codes):
        self.meanings = np.full(shape, MEANINGS.index(OUTSIDE), np.uint8)
        self._rank = ranks(codes)
        self._table = codes.name
        self._sources: list[str] = []
        self._owner = np.zeros(shape, np.uint8)  # 1 + index of the source that set the meaning of a voxel

    def add(self, z: int, new: np.ndarray, source: str) -> None:
        """Adds the meanings of slice z. Raises `InputError` if they contradict meanings added earlier.

        new: indices into `MEANINGS`, uint8 (y, x); source: the name of the segment or file, for messages.
        """
        if source not in self._sources:
            self._sources.append(source)
        old = self.meanings[z]
        rank = self._rank[new].astype(np.int8) - self._rank[old]
        contradiction = (rank == 0) & (new != old)
        if contradiction.any():
            y, x = np.argwhere(contradiction)[0]
            other = self._sources[min(int(self._owner[z, y, x]), len(self._sources)) - 1]
            raise InputError(
                f"{other} and {source} must not contradict each other, got {MEANINGS[old[y, x]]} and "
                f"{MEANINGS[new[y, x]]} in one voxel (slice {z + 1}): set their priority in {self._table}"
            )
        stronger = rank > 0
        old[stronger] = new[stronger]
        self._owner[z][stronger] = min(self._sources.index(source) + 1, 255)


def ranks(codes: Codes) -> np.ndarray:
    """The rank of each meaning, (len(MEANINGS),). A higher rank replaces a lower one; equal ranks contradict."""
    rank = np.full(len(MEANINGS), 2, np.uint8)
    rank[MEANINGS.index(OUTSIDE)], rank[MEANINGS.index(OTHER)] = 0, 1
    for place, meaning in enumerate(reversed(codes.priority)):
        rank[MEANINGS.index(meaning)] = 3 + place
    return rank
