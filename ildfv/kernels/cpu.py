"""The moments kernel on the CPU: input checks around the C++ code in csrc/cpu."""

from __future__ import annotations

import os
import re
import threading

import numpy as np

from ildfv.errors import check, check_integer
from ildfv.kernels import _native
from ildfv.kernels.checks import (
    check_descriptor_weights,
    check_dimensions,
    check_functionals,
    check_mixture,
    check_threshold,
    not_finite,
)
from ildfv.kernels.cores import available_cores
from ildfv.kernels.elements import CODES, check_element
from ildfv.kernels.reference import Moments

# NumPy has no bfloat16. Tensors of torch are passed with this structured dtype, without a copy.
BFLOAT16 = np.dtype([("bfloat16", np.uint16)])

MAX_THREADS = 1024  # a larger number is probably a mistake, and the creation of so many threads may fail
_threads: int | None = None
_thread_limit = threading.local()  # .threads: limit of the calling thread
_isa = os.environ.get("ILDFV_ISA", "")


def set_num_threads(n: int | None) -> None:
    """Sets the number of threads; None: OMP_NUM_THREADS if set, else one per available core."""
    global _threads
    _threads = None if n is None else check_integer(n, "n", 1)


# A forked child has none of OpenMP's threads: waiting for them would deadlock.
os.register_at_fork(after_in_child=lambda: set_num_threads(1))


def limit_calling_thread(n: int) -> None:
    """Limits calls from this thread to `n` threads, for worker threads that share the cores."""
    _thread_limit.threads = n


def num_threads() -> int:
    """Number of threads that the kernel uses. Results do not depend on it."""
    return min(_configured_threads(), getattr(_thread_limit, "threads", _configured_threads()))


def _configured_threads() -> int:
    if _threads is not None:
        return _threads
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if re.fullmatch("0*[1-9][0-9]{0,4}", wanted):  # ignore other values, as libgomp does
        return min(int(wanted), MAX_THREADS)
    return available_cores()


def set_instruction_set(name: str | None) -> None:
    """Sets the instruction set, "avx512", "avx2" or "baseline"; None: the best available. For tests and benchmarks."""
    global _isa
    _check_instruction_set(name or "")
    _isa = name or ""


def _check_instruction_set(name: str) -> None:
    known = _native.instruction_set(name) is not None
    check(known, f'instruction set must be one that this machine supports, got "{name}"')


def instruction_set() -> str:
    """The instruction set that the kernel uses."""
    _check_instruction_set(_isa)  # the value of ILDFV_ISA has not been checked yet
    return _native.instruction_set(_isa)


def moments(
    maps, weights, means, variances, *, threshold: float = 1e-6, pooled: bool = False, descriptor_weights=None
) -> Moments:
    """Sums over descriptors of posterior × (1, t, t²), t = (x − mean)/sd, and the log likelihood.

    Like `ildfv.kernels.moments`, for NumPy arrays and a mixture given by weights (k,), means (k, d), variances (k, d);
    `descriptor_weights` is that function's argument `weights`. The results are float64 if pooled or if the maps are
    float64, else float32. They are bitwise identical for any number of threads and any strides of the maps. The
    InputError for empty maps and for values that are not finite contains the index of the map.
    """
    weights, means, variances = check_mixture(weights, means, variances)
    threshold = check_threshold(threshold)
    _check_instruction_set(_isa)
    k, d = means.shape
    table, element, dimensions, held = _table(maps)
    check_dimensions(dimensions, d)
    number = len(table)
    if descriptor_weights is None:
        counted = None
    else:
        omega = check_descriptor_weights(descriptor_weights, table[:, 1].tolist())
        counted, table, held = _table_with_weights(table, held, omega)
    in_double = pooled or element == CODES["float64"]
    dtype = np.float64 if in_double else np.float32
    lead = () if pooled else (len(table),)
    make = np.empty if len(table) else np.zeros
    out = Moments(*(make((*lead, *shape), dtype=dtype) for shape in ((k,), (k, d), (k, d), ())))
    if len(table):
        bad = _native.moments(
            table, element, weights, means, variances, *(a.ctypes.data for a in out),
            in_double=in_double, threshold=threshold, pooled=pooled, threads=num_threads(), isa=_isa,
        )  # fmt: skip
        if bad >= 0:
            raise not_finite(bad if counted is None else int(counted[bad]))
    return out if counted is None or pooled else Moments(*(_of_all_maps(a, counted, number) for a in out))


def contributions(
    maps, weights, means, variances, first, second, *, threshold: float = 1e-6, descriptor_weights=None
) -> list[np.ndarray]:
    """Contribution of every descriptor to C linear functionals of its map's moments, float64 (n_i, C) for each map.

        q_ic = Σ_k γ_ik Σ_d (first_ckd t_ikd + second_ckd (t_ikd² − 1))

    maps, weights, means, variances, threshold, descriptor_weights: as in `moments`. first, second: (C, k, d) for all
    maps, or (b, C, k, d). Descriptors of weight 0 contribute 0. InputError as in `moments`.
    """
    weights, means, variances = check_mixture(weights, means, variances)
    threshold = check_threshold(threshold)
    _check_instruction_set(_isa)
    table, element, dimensions, held = _table(maps)
    check_dimensions(dimensions, means.shape[1])
    first, second = check_functionals(first, second, len(table), means.shape)
    results = [np.zeros((int(n), first.shape[1])) for n in table[:, 1]]
    rows: list[slice | np.ndarray] = [slice(None)] * len(results)
    counted = np.arange(len(table))
    if descriptor_weights is not None:
        omega = check_descriptor_weights(descriptor_weights, table[:, 1].tolist())
        rows = [slice(None) if a.all() else np.flatnonzero(a) for a in omega]
        counted, table, held = _table_with_weights(table, held, omega)
        if len(first) > 1:
            first, second = (np.ascontiguousarray(a[counted]) for a in (first, second))
    if len(table) == 0:
        return results
    out = [np.empty((int(n), first.shape[1])) for n in table[:, 1]]
    bad = _native.contributions(
        table, element, weights, means, variances, first, second, np.array([a.ctypes.data for a in out], np.int64),
        threshold=threshold, threads=num_threads(), isa=_isa,
    )  # fmt: skip
    if bad >= 0:
        raise not_finite(int(counted[bad]))
    for i, found in zip(counted, out, strict=True):
        results[i][rows[i]] = found
    return results


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


def _of_all_maps(a: np.ndarray, counted: np.ndarray, number: int) -> np.ndarray:
    """The results of all maps: `a` contains the results of the `counted` maps, and all other results are 0."""
    if len(counted) == number:
        return a
    whole = np.zeros((number, *a.shape[1:]), a.dtype)
    whole[counted] = a
    return whole


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
    """InputError for the first map that has a wrong shape, no descriptors, or not as many dimensions as the first map.

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
