"""Moments, Fisher vectors and contributions on the CPU: input checks around the C++ code in csrc/cpu."""

from __future__ import annotations

import os
import re
import threading

import numpy as np

from ildfv.errors import check, check_integer
from ildfv.kernels import _native
from ildfv.kernels.checks import check_functionals, check_mixture, check_threshold, not_finite
from ildfv.kernels.cores import available_cores
from ildfv.kernels.reference import MIN_NORM, MIN_WEIGHT, Moments
from ildfv.kernels.tables import Maps

# Limit on OMP_NUM_THREADS. A larger number is probably a mistake, and the creation of so many threads may fail.
MAX_THREADS = 1024
_threads: int | None = None
_thread_limit = threading.local()  # .threads: limit of the calling thread
_isa = os.environ.get("ILDFV_ISA", "")


def set_num_threads(n: int | None) -> None:
    """Sets the number of threads; None: OMP_NUM_THREADS if it is a positive integer, otherwise one per available core.

    OMP_NUM_THREADS is limited to `MAX_THREADS`. InputError: `n` is neither None nor a positive integer.
    """
    global _threads
    _threads = None if n is None else check_integer(n, "n", 1)


# A forked child has none of OpenMP's threads: waiting for them would deadlock.
os.register_at_fork(after_in_child=lambda: set_num_threads(1))


def limit_calling_thread(n: int) -> None:
    """Limits calls from this thread to `n` threads, for worker threads that share the cores."""
    _thread_limit.threads = n


def num_threads() -> int:
    """Number of threads that a call from this thread uses. Results do not depend on it."""
    return min(_configured_threads(), getattr(_thread_limit, "threads", _configured_threads()))


def _configured_threads() -> int:
    if _threads is not None:
        return _threads
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if re.fullmatch("0*[1-9][0-9]{0,4}", wanted):  # ignore other values, as libgomp does
        return min(int(wanted), MAX_THREADS)
    return available_cores()


def set_instruction_set(name: str | None) -> None:
    """Sets the instruction set, "avx512", "avx2" or "baseline"; None: the best available. For tests and benchmarks.

    Until the first call, the environment variable ILDFV_ISA applies. InputError: the machine does not support it.
    """
    global _isa
    _check_instruction_set(name or "")
    _isa = name or ""


def _check_instruction_set(name: str) -> None:
    known = _native.instruction_set(name) is not None
    check(known, f'instruction set must be one that this machine supports, got "{name}"')


def instruction_set() -> str:
    """The instruction set that the kernels use. InputError: the machine does not support that in ILDFV_ISA."""
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
    mixture = check_mixture(weights, means, variances)
    k, d = mixture[1].shape
    given = Maps(maps, d, descriptor_weights)
    in_double = pooled or given.in_double
    lead = () if pooled else (len(given.table),)
    make = np.empty if len(given.table) else np.zeros
    dtype = np.float64 if in_double else np.float32
    out = Moments(*(make((*lead, *shape), dtype=dtype) for shape in ((k,), (k, d), (k, d), ())))
    addresses = tuple(a.ctypes.data for a in out)
    _write_moments(given, mixture, addresses, in_double=in_double, by_map=k * d, threshold=threshold, pooled=pooled)
    return out if pooled else Moments(*map(given.of_all_maps, out))


def fisher_vectors(
    maps, weights, means, variances, *, improved: bool = True, order: str = "component", weight_part: bool = False,
    threshold: float = 1e-6, descriptor_weights=None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Fisher vectors (b, 2·k·d), or (b, 2·k·d + k) with the weight part, and log likelihoods (b,), of b maps.

    maps, weights, means, variances, threshold, descriptor_weights: as in `moments`. improved, order, weight_part: as in
    `ildfv.kernels.reference.vectors`. The results are float64 if the maps are float64, else float32. InputError as in
    `moments`; `order` is not checked. The vector of a map whose weights are all 0 is 0. The moments are computed in the
    memory of the result, so that only k + 1 further numbers per map are allocated. A vector is bitwise identical in any
    batch of maps.
    """
    mixture = check_mixture(weights, means, variances)
    weights, (k, d) = mixture[0], mixture[1].shape
    given = Maps(maps, d, descriptor_weights)
    b = len(given.table)
    dtype = np.dtype(np.float64 if given.in_double else np.float32)
    make = np.empty if b else np.zeros
    out, s0, likelihoods = (make(s, dtype) for s in ((b, k * (2 * d + weight_part)), (b, k), (b,)))
    addresses = s0.ctypes.data, out.ctypes.data, out.ctypes.data + k * d * dtype.itemsize, likelihoods.ctypes.data
    options = {"in_double": given.in_double, "by_map": out.shape[1], "threshold": threshold, "pooled": False}
    _write_moments(given, mixture, addresses, **options)
    if b:
        used = weights >= MIN_WEIGHT
        roots = np.where(used, 1 / np.sqrt(np.where(used, weights, 1.0)), 0.0)
        _native.fisher_vectors(
            out, s0, given.counts, roots, weights, d=d, improved=improved, by_component=order == "component",
            weight_part=weight_part, least_norm=MIN_NORM, threads=num_threads(),
        )  # fmt: skip
    return given.of_all_maps(out), given.of_all_maps(likelihoods)


def _write_moments(given: Maps, mixture: tuple, addresses: tuple, *, threshold: float, **options) -> None:
    """Writes the moments to the addresses of s0, s1, s2 and log likelihood.

    InputError: a map is not finite, or the threshold or the instruction set is invalid.
    """
    threshold = check_threshold(threshold)
    _check_instruction_set(_isa)
    if len(given.table) == 0:
        return
    bad = _native.moments(
        given.table, given.element, *mixture, *addresses,
        threshold=threshold, threads=num_threads(), isa=_isa, **options,
    )  # fmt: skip
    if bad >= 0:
        raise not_finite(int(given.counted[bad]))


def contributions(
    maps, weights, means, variances, first, second, *, threshold: float = 1e-6, descriptor_weights=None
) -> list[np.ndarray]:
    """Contribution of every descriptor to C linear functionals of its map's moments, float64 (n_i, C) for each map.

        q_jc = ω_j Σ_k γ_jk Σ_d (first_ckd t_jkd + second_ckd (t_jkd² − 1))

    for descriptor j of a map, where γ are posteriors and ω are the descriptor weights, 1 by default. Descriptors of
    weight 0 contribute 0.

    maps, weights, means, variances, threshold, descriptor_weights: as in `moments`. first, second: (C, k, d) for all
    maps, or (b, C, k, d). InputError as in `moments`, and for other shapes or non-finite values of `first` and
    `second`.
    """
    weights, means, variances = check_mixture(weights, means, variances)
    threshold = check_threshold(threshold)
    _check_instruction_set(_isa)
    given = Maps(maps, means.shape[1], descriptor_weights)
    first, second = check_functionals(first, second, given.number, means.shape)
    results = [np.zeros((n, first.shape[1])) for n in given.sizes]
    rows: list[slice | np.ndarray] = [slice(None)] * len(results)
    if given.omega is not None:
        rows = [slice(None) if a.all() else np.flatnonzero(a) for a in given.omega]
        if len(first) > 1:
            first, second = (np.ascontiguousarray(a[given.counted]) for a in (first, second))
    if len(given.table) == 0:
        return results
    out = [np.empty((int(n), first.shape[1])) for n in given.table[:, 1]]
    addresses = np.array([a.ctypes.data for a in out], np.int64)
    bad = _native.contributions(
        given.table, given.element, weights, means, variances, first, second, addresses,
        threshold=threshold, threads=num_threads(), isa=_isa,
    )  # fmt: skip
    if bad >= 0:
        raise not_finite(int(given.counted[bad]))
    for i, found in zip(given.counted, out, strict=True):
        results[i][rows[i]] = found
    return results
