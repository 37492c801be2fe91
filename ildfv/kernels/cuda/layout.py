"""The layout of a batch in device memory, and its division into pieces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ildfv.errors import check
from ildfv.kernels.cuda.device import Device
from ildfv.kernels.cuda.launches import cut
from ildfv.kernels.elements import check_element, element_bytes


def bytes_of_a_weight(element: str) -> int:
    """Size of a descriptor's weight in bytes: weights have the precision of the computation."""
    return 8 if element == "float64" else 4


class Batch(NamedTuple):
    """Layout of b maps. Uniform maps are described by strides, ragged maps by a table."""

    element: str
    b: int
    d: int
    address: int = 0
    n: int = 0
    strides: tuple[int, int, int] = (0, 0, 0)  # map, descriptor, dimension; in elements
    # (b, 5): address, n, stride of descriptors, stride of dimensions, address of weights
    table: np.ndarray | None = None
    held: object = None  # a reference that keeps the memory alive
    weights: int = 0  # address of the weights of all descriptors, map after map; 0: none

    @property
    def counts(self) -> list[int]:
        """Descriptors of each map."""
        return [self.n] * self.b if self.table is None else self.table[:, 1].tolist()

    def weighted(self, device: Device, weights: np.ndarray) -> Batch:
        """The batch with the weights of all descriptors, which are in one array, map after map."""
        memory = device.upload(weights)
        batch = self._replace(weights=device.address(memory), held=(self.held, memory))
        if batch.table is not None:
            before = np.cumsum(batch.table[:, 1]) - batch.table[:, 1]
            batch.table[:, 4] = batch.weights + weights.itemsize * before
        return batch


def uniform(device: Device, maps) -> Batch:
    """The batch of maps (b, n, d) or (b, d, h, w) of any strides; copied only if two strides cannot describe a map.

    InputError: another shape or dtype, empty maps, or an array that is not on the device.
    """
    address, element, shape, strides = device.describe(maps)
    check(len(shape) in (3, 4), f"maps must have shape (b, n, d) or (b, d, h, w), or be a list of (n, d), got {shape}")
    check(shape[0] > 0, "maps must contain at least one map, got an empty batch")
    check_element(element)
    if len(shape) == 3:
        b, n, d = shape
        by_map, by_row, by_dim = strides
    else:
        b, d, h, w = shape
        if h > 1 and w > 1 and strides[2] != w * strides[3]:  # rows of pixels are not contiguous
            maps = device.contiguous(maps)
            address, _, _, strides = device.describe(maps)
        n, by_map, by_row, by_dim = h * w, strides[0], strides[3] if w > 1 else strides[2], strides[1]
    check(n > 0, "each map must contain at least one descriptor, got none in map 0")
    return Batch(element, b, d, address, n, (by_map, by_row, by_dim), held=maps)


def ragged(device: Device, maps) -> Batch:
    """The batch of a list of maps (n_i, d) of any strides.

    InputError: no maps, empty maps, other shapes, several dtypes or one that the kernels do not accept, several d, or
    an array that is not on the device.
    """
    check(len(maps) > 0, "maps must contain at least one map, got an empty batch")
    table = np.empty((len(maps), 5), dtype=np.int64)
    elements, dimensions = set(), set()
    for i, a in enumerate(maps):
        address, element, shape, strides = device.describe(a)
        check(len(shape) == 2, f"maps must be a list of (n, d), got shape {shape} for map {i}")
        check(shape[0] > 0, f"each map must contain at least one descriptor, got none in map {i}")
        elements.add(element)
        dimensions.add(shape[1])
        table[i] = address, shape[0], *strides, 0
    check(len(elements) == 1, f"maps must have one dtype, got {', '.join(sorted(elements))}")
    check(len(dimensions) == 1, f"maps must have the same number of dimensions, got {sorted(dimensions)}")
    element = elements.pop()
    check_element(element)
    return Batch(element, len(maps), dimensions.pop(), table=table, held=maps)


def merged(batch: Batch) -> Batch:
    """The maps as a single map if they are contiguous, else with a table. For pooling, map boundaries do not matter."""
    by_map, by_row, by_dim = batch.strides
    if batch.table is not None:
        return batch
    if batch.n == 1 or batch.b == 1 or by_map == batch.n * by_row:
        return batch._replace(b=1, n=batch.b * batch.n, strides=(0, by_map if batch.n == 1 else by_row, by_dim))
    return listed(batch)


def listed(batch: Batch) -> Batch:
    """The batch with a table, even if its maps are uniform."""
    if batch.table is not None:
        return batch
    by_map, by_row, by_dim = batch.strides
    table = np.zeros((batch.b, 5), dtype=np.int64)
    table[:, 0] = batch.address + np.arange(batch.b) * (by_map * element_bytes(batch.element))
    table[:, 1:4] = batch.n, by_row, by_dim
    if batch.weights:
        table[:, 4] = batch.weights + np.arange(batch.b) * (batch.n * bytes_of_a_weight(batch.element))
    return batch._replace(table=table)


class Pieces(NamedTuple):
    """The pieces of some maps, in order. Pieces of uniform maps are described by strides, other pieces by a table."""

    element: str
    total: int
    each: int = 0  # pieces per map; 0: not the same number for all maps
    address: int = 0
    n: int = 0  # descriptors per map
    rows: int = 0  # descriptors per piece, except the last piece of a map
    strides: tuple[int, int, int] = (0, 0, 0)  # map, descriptor, dimension; in elements
    table: np.ndarray | None = None  # (pieces, 5): as in Batch
    weights: int = 0  # address of the first descriptor's weight; 0: none
    edges: np.ndarray | None = None  # first piece of each map, and the end

    def map_of(self, piece: int) -> int:
        """The map that the piece belongs to, counted from the first of these maps."""
        if self.edges is None:
            return piece // self.each
        return int(np.searchsorted(self.edges, piece, side="right")) - 1

    def part(self, first: int, last: int) -> Pieces:
        """Pieces first … last − 1, which belong to a single map or have a table, as the pieces of one map."""
        part = self._replace(total=last - first, each=last - first, edges=None)
        if self.table is not None:
            return part._replace(table=self.table[first:last])
        start = first * self.rows
        address = self.address + start * self.strides[1] * element_bytes(self.element)
        weights = self.weights and self.weights + start * bytes_of_a_weight(self.element)
        return part._replace(address=address, n=min(self.n, last * self.rows) - start, weights=weights)


def pieces_of(batch: Batch, k: int, maps: range) -> Pieces:
    """The pieces of these maps of the batch."""
    bytes_of_a_value = element_bytes(batch.element)
    if batch.table is None:
        each, rows = cut(batch.n, k)
        address = batch.address + maps.start * batch.strides[0] * bytes_of_a_value
        weights = batch.weights and batch.weights + maps.start * batch.n * bytes_of_a_weight(batch.element)
        return Pieces(batch.element, len(maps) * each, each, address, batch.n, rows, batch.strides, weights=weights)
    table, of_each = [], []
    weight_bytes = bytes_of_a_weight(batch.element)
    for address, n, by_row, by_dim, weights in batch.table[maps.start : maps.stop].tolist():
        each, rows = cut(n, k)
        of_each.append(each)
        table += [
            (
                address + start * by_row * bytes_of_a_value,
                min(rows, n - start),
                by_row,
                by_dim,
                weights and weights + start * weight_bytes,
            )
            for start in range(0, n, rows)
        ]
    edges = np.concatenate([[0], np.cumsum(of_each)]).astype(np.int64)
    each = of_each[0] if len(set(of_each)) == 1 else 0
    return Pieces(batch.element, len(table), each, table=np.array(table, dtype=np.int64), edges=edges)


def rounds(batch: Batch, k: int, room: int) -> Iterator[range]:
    """Consecutive ranges of the batch's maps, each with at most `room` pieces or with a single map."""
    if batch.table is None:
        yield from runs(batch.b, max(1, room // cut(batch.n, k)[0]))
        return
    counts = [cut(n, k)[0] for n in batch.table[:, 1].tolist()]
    first, held = 0, 0
    for i, count in enumerate(counts):
        if i > first and held + count > room:
            yield range(first, i)
            first, held = i, 0
        held += count
    yield range(first, batch.b)


def runs(count: int, size: int) -> Iterator[range]:
    """range(count), divided into ranges of at most `size`."""
    return (range(first, min(first + size, count)) for first in range(0, count, size))
