"""Where a batch's maps lie in device memory, and how they are cut into pieces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ildfv.errors import check
from ildfv.kernels.launches import cut, maps_per_round
from ildfv.kernels.modules import Device, element_bytes


class Batch(NamedTuple):
    """Where b maps lie: uniform ones by strides, ragged ones by a table."""

    element: str
    b: int
    d: int
    address: int = 0
    n: int = 0
    strides: tuple[int, int, int] = (0, 0, 0)  # map, descriptor, dimension; in elements
    table: np.ndarray | None = None  # (b, 4): address, n, stride of descriptors, stride of dimensions
    held: object = None  # keeps the memory alive


def uniform(device: Device, maps) -> Batch:
    """Maps (b, n, d) or (b, d, h, w) of any strides, without a copy where two numbers can tell them."""
    address, element, shape, strides = device.describe(maps)
    check(len(shape) in (3, 4), f"maps must have shape (b, n, d) or (b, d, h, w), or be a list of (n, d), got {shape}")
    check(shape[0] > 0, "maps must hold at least one map, got an empty batch")
    element_bytes(element)
    if len(shape) == 3:
        b, n, d = shape
        by_map, by_row, by_dim = strides
    else:
        b, d, h, w = shape
        if h > 1 and w > 1 and strides[2] != w * strides[3]:  # rows of pixels do not follow each other
            maps = device.contiguous(maps)
            address, _, _, strides = device.describe(maps)
        n, by_map, by_row, by_dim = h * w, strides[0], strides[3] if w > 1 else strides[2], strides[1]
    check(n > 0, "maps must hold at least one descriptor each, got none in map 0")
    return Batch(element, b, d, address, n, (by_map, by_row, by_dim), held=maps)


def ragged(device: Device, maps) -> Batch:
    """Maps (n_i, d) of any strides."""
    check(len(maps) > 0, "maps must hold at least one map, got an empty batch")
    table = np.empty((len(maps), 4), dtype=np.int64)
    elements, dimensions = set(), set()
    for i, a in enumerate(maps):
        address, element, shape, strides = device.describe(a)
        check(len(shape) == 2, f"maps must be a list of (n, d), got shape {shape} for map {i}")
        check(shape[0] > 0, f"maps must hold at least one descriptor each, got none in map {i}")
        elements.add(element)
        dimensions.add(shape[1])
        table[i] = address, shape[0], *strides
    check(len(elements) == 1, f"maps must be of one dtype, got {', '.join(sorted(elements))}")
    check(len(dimensions) == 1, f"maps must have one number of dimensions, got {sorted(dimensions)}")
    element = elements.pop()
    element_bytes(element)
    return Batch(element, len(maps), dimensions.pop(), table=table, held=maps)


def merged(batch: Batch) -> Batch:
    """Maps that follow each other in memory as one: when pooling it makes no difference where one ends."""
    by_map, by_row, by_dim = batch.strides
    if batch.table is None and (batch.n == 1 or by_map == batch.n * by_row):
        return batch._replace(b=1, n=batch.b * batch.n, strides=(0, by_map if batch.n == 1 else by_row, by_dim))
    return batch


class Round(NamedTuple):
    """Maps first … last of a batch whose pieces are computed at once."""

    first: int
    last: int
    pieces: np.ndarray  # number of each map
    piece_rows: int = 0
    table: np.ndarray | None = None  # a row for each piece

    def edges(self) -> np.ndarray:
        """First piece of each map, and the end."""
        return np.concatenate([[0], np.cumsum(self.pieces)]).astype(np.int64)


def rounds(batch: Batch, k: int, real: str) -> Iterator[Round]:
    """The batch in rounds whose pieces' sums fit in `ROUND_BYTES`."""
    if batch.table is None:
        each, rows = cut(batch.n, k)
        step = maps_per_round(each, k, batch.d, real)
        for first in range(0, batch.b, step):
            last = min(first + step, batch.b)
            yield Round(first, last, np.full(last - first, each), rows)
        return
    counts = batch.table[:, 1].tolist()
    cuts = [cut(n, k) for n in counts]
    first = 0
    while first < batch.b:
        room = maps_per_round(1, k, batch.d, real)
        last = first + 1
        while last < batch.b and sum(pieces for pieces, _ in cuts[first : last + 1]) <= room:
            last += 1
        bytes_of_a_value, table = element_bytes(batch.element), []
        for (address, n, by_row, by_dim), (_, rows) in zip(
            batch.table[first:last].tolist(), cuts[first:last], strict=True
        ):
            table += [
                (address + start * by_row * bytes_of_a_value, min(rows, n - start), by_row, by_dim)
                for start in range(0, n, rows)
            ]
        pieces = np.array([-(-n // rows) for n, (_, rows) in zip(counts[first:last], cuts[first:last], strict=True)])
        yield Round(first, last, pieces, table=np.array(table, dtype=np.int64))
        first = last
