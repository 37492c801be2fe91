"""Maps of descriptors as the native kernels read them: addresses, numbers of descriptors and strides."""

from __future__ import annotations

import numpy as np

from ildfv.errors import check
from ildfv.kernels.checks import check_descriptor_weights, check_dimensions
from ildfv.kernels.elements import CODES, check_element

# NumPy has no bfloat16. Tensors of torch are passed with this structured dtype, without a copy.
BFLOAT16 = np.dtype([("bfloat16", np.uint16)])


class Maps:
    """Checked maps (n_i, d), as the native kernels read them.

    Maps whose weights are all 0 are not computed. table: a row for each computed map, as `_table` returns it. counted:
    indices of the computed maps. counts: for each of them, the number of its descriptors, or the sum of their weights.
    number: number of all maps. sizes: number of descriptors of each map. omega: the weights of all maps, or None. held:
    the owners of the memory.
    """

    def __init__(self, maps, d: int, descriptor_weights) -> None:
        self.table, self.element, dimensions, self.held = _table(maps)
        check_dimensions(dimensions, d)
        self.number = len(self.table)
        self.counted = np.arange(self.number)
        self.sizes: list[int] = self.table[:, 1].tolist()
        self.counts = self.table[:, 1].astype(np.float64)
        self.omega: list[np.ndarray] | None = None
        if descriptor_weights is not None:
            self.omega = check_descriptor_weights(descriptor_weights, self.sizes)
            self.counted, self.table, self.held = _table_with_weights(self.table, self.held, self.omega)
            self.counts = np.array([self.omega[i].sum() for i in self.counted])

    @property
    def in_double(self) -> bool:
        return self.element == CODES["float64"]

    def of_all_maps(self, a: np.ndarray) -> np.ndarray:
        """`a` with zeros for the maps that are not computed."""
        if len(self.counted) == self.number:
            return a
        whole = np.zeros((self.number, *a.shape[1:]), a.dtype)
        whole[self.counted] = a
        return whole


def _table_with_weights(table: np.ndarray, held, omega: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, object]:
    """Indices of the maps that have a descriptor of weight above 0, their table, and the owners of the memory.

    The table contains the addresses of the weights. In a map with descriptors of weight 0, the other descriptors are
    copied, so that the kernel does not read those of weight 0.
    """
    counted = np.flatnonzero([a.any() for a in omega])
    rows, memory = np.empty((len(counted), 5), dtype=np.int64), [held]
    for row, i in zip(rows, counted, strict=True):
        chosen = omega[i]
        row[:] = table[i]
        if not chosen.all():
            keep = np.flatnonzero(chosen)
            view, chosen = np.ascontiguousarray(held[i][keep]), chosen[keep]  # (n', d), (n',)
            row[:4] = view.__array_interface__["data"][0], len(view), view.shape[1], 1
            memory.append(view)
        row[4] = chosen.__array_interface__["data"][0]
        memory.append(chosen)
    return counted, rows, memory


def _table(maps) -> tuple[np.ndarray, int, int, object]:
    """Rows (address, n, row stride, dimension stride, 0), the code of the dtype, d, and the owner of the memory.

    Strides are in elements. The last column is the address of the weights; 0: each descriptor has weight 1. Arrays are
    copied only if two strides cannot describe them.
    """
    if isinstance(maps, (list, tuple)):
        return _ragged(maps)
    maps = np.asarray(maps)
    if maps.ndim == 4:
        b, d, h, w = maps.shape
        if maps.size and maps.strides[2] == w * maps.strides[3]:  # rows of pixels are contiguous
            strides = (maps.strides[0], maps.strides[3], maps.strides[1])
            maps = np.lib.stride_tricks.as_strided(maps, (b, h * w, d), strides, writeable=False)
        else:
            maps = maps.reshape(b, d, h * w).transpose(0, 2, 1)
    check(maps.ndim == 3, f"maps must have shape (b, n, d) or (b, d, h, w), or be a list of (n, d), got {maps.shape}")
    check(len(maps) > 0, "maps must contain at least one map, got an empty batch")
    check(maps.shape[1] > 0, "each map must contain at least one descriptor, got none in map 0")
    element = _element({_name(maps)})
    maps = _addressable(maps)
    by_map, by_row, by_dimension = maps.strides
    table = np.zeros((len(maps), 5), dtype=np.int64)
    table[:, 0] = maps.__array_interface__["data"][0] + by_map * np.arange(len(maps))
    table[:, 1:4] = maps.shape[1], by_row // maps.itemsize, by_dimension // maps.itemsize
    return table, element, maps.shape[2], maps


def _ragged(maps) -> tuple[np.ndarray, int, int, object]:
    """The table of a list of maps (n_i, d)."""
    views = [np.asarray(a) for a in maps]
    check(len(views) > 0, "maps must contain at least one map, got an empty batch")
    d = views[0].shape[-1] if views[0].ndim else 0
    if {a.ndim for a in views} != {2} or {a.shape[1] for a in views} != {d} or not all(map(len, views)):
        _raise_for_shapes(views)
    element = _element({_name(a) for a in views} if len({a.dtype for a in views}) > 1 else {_name(views[0])})
    views = [_addressable(a) for a in views]
    size = views[0].itemsize
    table = np.zeros((len(views), 5), dtype=np.int64)
    table[:, 0] = [a.__array_interface__["data"][0] for a in views]
    table[:, 1] = [len(a) for a in views]
    table[:, 2:4] = [a.strides for a in views]
    table[:, 2:4] //= size
    return table, element, d, views


def _raise_for_shapes(views: list[np.ndarray]) -> None:
    """Raises InputError for the first map with a wrong shape, no descriptors, or not as many dimensions as map 0.

    This is separate from `_ragged` because the construction of the messages is slow for many small maps.
    """
    for i, a in enumerate(views):
        check(a.ndim == 2, f"maps must be a list of (n, d), got shape {a.shape} for map {i}")
        check(len(a) > 0, f"each map must contain at least one descriptor, got none in map {i}")
        first, here = views[0].shape[1], a.shape[1]
        check(
            here == first, f"maps must have the same number of dimensions, got {first} in map 0 and {here} in map {i}"
        )


def _addressable(a: np.ndarray) -> np.ndarray:
    """`a`, or a copy if the kernel cannot read it: its byte order is not native, or its items are not aligned."""
    if a.flags.c_contiguous and a.flags.aligned and a.dtype.isnative:
        return a
    usable = a.dtype.isnative and a.flags.aligned and not any(stride % a.itemsize for stride in a.strides)
    return a if usable else np.ascontiguousarray(a, dtype=a.dtype.newbyteorder("="))


def _name(a: np.ndarray) -> str:
    return "bfloat16" if a.dtype == BFLOAT16 else a.dtype.name


def _element(names: set[str]) -> int:
    check(len(names) == 1, f"maps must have one dtype, got {', '.join(sorted(names))}")
    return CODES[check_element(names.pop())]
