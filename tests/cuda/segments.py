"""A model of torch's caching allocator that runs out of memory at the same requests: they are served from segments.

Sizes as in c10/cuda/CUDACachingAllocator: requests up to 1 MiB from segments of 2 MiB, those below 10 MiB from segments
of 20 MiB, larger ones from a segment of their own, rounded up to 2 MiB.
"""

from __future__ import annotations

import itertools

MIB = 1 << 20
SMALL, SMALL_SEGMENT = MIB, 2 * MIB
MEDIUM, MEDIUM_SEGMENT = 10 * MIB, 20 * MIB


class OutOfMemoryError(RuntimeError):
    """The package recognises this exception by its name, which is that of torch's exception."""


class Segments:
    """room: bytes that segments can take in total."""

    def __init__(self, room: int):
        self.room, self.failures = room, 0
        self._segments: dict[int, list] = {}  # number → blocks [size, whether it is used], in order of addresses
        self._small: dict[int, bool] = {}  # number → whether it serves small requests
        self._numbers = itertools.count()

    @property
    def reserved(self) -> int:
        return sum(block[0] for blocks in self._segments.values() for block in blocks)

    def allocate(self, size: int) -> tuple[int, list]:
        """The number of the segment and the block that is reserved in it."""
        size = max(512, -(-size // 512) * 512)
        small = size <= SMALL
        candidates = [
            (block[0], number, i)
            for number, blocks in self._segments.items()
            if self._small[number] == small
            for i, block in enumerate(blocks)
            if not block[1] and block[0] >= size
        ]
        if candidates:
            _, number, i = min(candidates)
        else:
            number, i = self._new_segment(size, small), 0
        blocks = self._segments[number]
        block, left = blocks[i], blocks[i][0] - size
        if left >= 512 if small else left > SMALL:
            block[0] = size
            blocks.insert(i + 1, [left, False])
        block[1] = True
        return number, block

    def release(self, place: tuple[int, list]) -> None:
        number, block = place
        block[1] = False
        merged: list = []
        for one in self._segments[number]:
            if merged and not merged[-1][1] and not one[1]:
                merged[-1][0] += one[0]
            else:
                merged.append(one)
        self._segments[number] = merged

    def empty(self) -> None:
        """Gives up the segments in which no block is used."""
        for number in [n for n, blocks in self._segments.items() if not any(used for _, used in blocks)]:
            del self._segments[number], self._small[number]

    def _new_segment(self, size: int, small: bool) -> int:
        if small:
            segment = SMALL_SEGMENT
        else:
            segment = MEDIUM_SEGMENT if size < MEDIUM else -(-size // SMALL_SEGMENT) * SMALL_SEGMENT
        if self.reserved + segment > self.room:
            self.empty()
        if self.reserved + segment > self.room:
            self.failures += 1
            raise OutOfMemoryError("out of memory")
        number = next(self._numbers)
        self._segments[number], self._small[number] = [[segment, False]], small
        return number
