"""The moments kernel on NVIDIA GPUs: input checks and launches around csrc/cuda. Counterpart of `ildfv.kernels.cpu`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from ildfv.arrays import to_numpy
from ildfv.errors import check
from ildfv.kernels.checks import check_dimensions, check_mixture, check_threshold, not_finite
from ildfv.kernels.cuda import launches
from ildfv.kernels.cuda.device import Device, device_of, own_arrays
from ildfv.kernels.cuda.launches import FINISH_THREADS, TENSOR, THREADS, TILES
from ildfv.kernels.cuda.layout import Batch, Pieces, merged, pieces_of, ragged, rounds, runs, uniform
from ildfv.kernels.cuda.oom import OomRetry
from ildfv.kernels.cuda.parameters import fma, on_device, tensor_cores, within_bfloat16
from ildfv.kernels.elements import CODES, element_bytes
from ildfv.kernels.reference import Moments

_variant: str | None = None
_round_sizes: dict[tuple, int] = {}  # by kind of call: the size that worked after device memory ran out


def set_variant(name: str | None) -> None:
    """Sets one of `launches.VARIANTS`; None: chosen by shape and device. For tests and benchmarks."""
    global _variant
    check(name is None or name in launches.VARIANTS, f"variant must be one of {launches.VARIANTS}, got {name!r}")
    _variant = name


def moments(maps, weights, means, variances, *, threshold: float = 1e-6, pooled: bool = False) -> Moments:
    """Sums over descriptors of posterior × (1, t, t²), t = (x − mean)/sd, and the log likelihood.

    Like `ildfv.kernels.moments`, for GPU arrays and a mixture given by weights (k,), means (k, d), variances (k, d);
    d ≤ 4096, k ≤ 1024. The maps are not copied. Work is queued on the current stream of torch or CuPy; for arrays of
    other libraries, on torch's where torch has the GPU, else on CuPy's. The results are float64 if pooled or if the
    maps are float64, else float32. The result of a map is bit-identical in any batch and for any strides.
    InputError names the map for empty maps and values that are not finite.
    """
    ragged = isinstance(maps, (list, tuple))
    check(not ragged or len(maps) > 0, "maps must contain at least one map, got an empty batch")
    ours, give = own_arrays(list(maps) if ragged else [maps])
    maps = ours if ragged else ours[0]
    result = compute(device_of(ours[0]), maps, weights, means, variances, threshold=threshold, pooled=pooled)
    return Moments(*(give(a) for a in result))


def compute(device: Device, maps, weights, means, variances, *, threshold: float, pooled: bool) -> Moments:
    """`moments` on a given device."""
    mixture = check_mixture(*(to_numpy(a) for a in (weights, means, variances)))
    threshold = check_threshold(threshold)
    k, d = mixture[1].shape
    launches.check_size(k, d)
    batch = ragged(device, maps) if isinstance(maps, (list, tuple)) else uniform(device, maps)
    check_dimensions(batch.d, d)
    real = "float64" if batch.element == "float64" else "float32"
    run = _Run(device, real, k, d, mixture, threshold)
    if pooled:
        out, logs, owners = run.pooled(merged(batch))
    elif batch.table is None and batch.n == 1:
        out, logs, owners = run.singles(batch)
    else:
        out, logs, owners = run.separate(batch)

    log_likelihoods = np.concatenate([device.download(a) for a in logs])  # the only synchronisation
    bad = np.flatnonzero(~np.isfinite(log_likelihoods))
    if len(bad) == 0:
        return out
    for index in range(len(maps)) if pooled else [int(owners[bad[0]])]:
        if not np.isfinite(device.download(device.cast(maps[index], "float64"))).all():
            raise not_finite(index)
    check(real == "float32", "maps must lie within 1e154 standard deviations of the mixture")
    # The values are finite, but so far from every mean that their squares overflow float32: repeat in double.
    double = [device.cast(a, "float64") for a in maps] if batch.table is not None else device.cast(maps, "float64")
    result = compute(device, double, *mixture, threshold=threshold, pooled=pooled)
    return result if pooled else Moments(*(device.cast(a, "float32") for a in result))


class _Sums(NamedTuple):
    """Arrays of s0 (m, k), s1 (m, k, d), s2 (m, k, d) and log likelihood (m,), the last always float64."""

    s0: Any
    s1: Any
    s2: Any
    log_likelihood: Any


class _Run:
    """One call of `moments`: the mixture on the device, and the launches."""

    def __init__(self, device: Device, real: str, k: int, d: int, mixture: tuple, threshold: float):
        self.device, self.real, self.k, self.d, self.threshold = device, real, k, d, threshold
        self.parameters = on_device(device, real, mixture, fma)
        self.screen: tuple = (None,) * 4
        self.close = 0
        if _variant is not None:
            self.variant = (
                _variant if real == "float32" else _variant.removeprefix(TENSOR)
            )  # tensor cores are not used in double precision
        else:
            tensor = device.tensor_cores and real == "float32" and threshold > 0 and k >= launches.TENSOR_K
            tensor = tensor and within_bfloat16(mixture)
            self.variant = launches.choose(real, k, d, device.shared_limit, tensor=tensor)
        if self.variant.startswith(TENSOR):
            screen = on_device(device, real, mixture, tensor_cores)
            self.screen, self.close = screen[:4], int(screen[4])

    def separate(self, batch: Batch):
        """Moments of each map, log likelihoods of the pieces, and the map that each piece belongs to."""
        out = self.empty(batch.b, self.real)

        def some(maps: range):
            pieces, own = pieces_of(batch, self.k, maps), _slice(out, maps.start, maps.stop)
            owners = np.repeat(np.arange(maps.start, maps.stop), pieces.of_each)
            if pieces.of_each.max() == 1:
                return self.pieces(pieces, own).log_likelihood, owners
            sums = self.pieces(pieces, self.empty(pieces.total, self.real))
            each = int(pieces.of_each[0]) if pieces.table is None else 0
            self.finish(sums, own, len(maps), each, None if each else pieces.edges())
            return sums.log_likelihood, owners

        room = launches.ROUND_BYTES // launches.piece_bytes(self.k, self.d, self.real)
        logs, owners = zip(*self.retried(some, rounds(batch, self.k, room), batch.n), strict=True)
        log_likelihood = self.device.cast(out.log_likelihood, self.real)
        return Moments(*out[:3], log_likelihood), logs, np.concatenate(owners)

    def pooled(self, batch: Batch):
        """Moments pooled over all maps: of pieces, then of groups of pieces, then of all groups in order.

        The order of additions, and so the last bit, depends neither on the rounds nor on the device's memory.
        """
        pieces, group = pieces_of(batch, self.k, range(batch.b)), launches.group(self.k, self.d, self.real)
        total: _Sums | None = None

        def some(groups: range):
            nonlocal total
            part = pieces.part(groups.start * group, min(groups.stop * group, pieces.total))
            sums = self.pieces(part, self.empty(part.total, self.real))
            before = 0 if total is None else 1
            terms, added = self.empty(before + len(groups), "float64"), self.empty(1, "float64")
            self.finish(sums, _slice(terms, before, before + len(groups)), len(groups), group)
            if total is not None:
                self.finish(total, _slice(terms, 0, 1), 1, 1)
            self.finish(terms, added, 1, before + len(groups))
            total = added  # last, so that running out of memory leaves the total unchanged
            return sums.log_likelihood

        room = max(1, launches.ROUND_BYTES // (group * launches.piece_bytes(self.k, self.d, self.real)))
        logs = self.retried(some, runs(-(-pieces.total // group), room), 0)
        assert total is not None  # there is at least one map, so at least one piece
        return Moments(*(a[0] for a in total)), logs, np.zeros(pieces.total, dtype=np.int64)

    def singles(self, batch: Batch):
        """Moments of maps with one descriptor each, which are far larger than the maps."""
        tile, (k, d) = TILES[self.real], (self.k, self.d)
        chunks = -(-d // tile.dimensions)
        out = self.empty(batch.b, self.real)
        scoring, spreading = launches.singles_shared_bytes(self.real, k)
        by_map, _, by_dim = batch.strides
        centre, scale, shift, constant = (self.address(a) for a in self.parameters)

        def some(maps: range):
            count = len(maps)
            partial = self.device.empty((chunks, count, k), self.real)
            address = batch.address + maps.start * by_map * element_bytes(batch.element)
            common = (address, CODES[batch.element], count, by_map, by_dim, d, k, centre, scale, shift)
            self.device.launch(
                f"score_singles_{self.real}", (-(-count // tile.rows), chunks), THREADS, scoring,
                (*common, self.address(partial)),
            )  # fmt: skip
            self.device.launch(
                f"spread_singles_{self.real}", (-(-count // tile.singles), chunks), THREADS, spreading,
                (*common, constant, self.threshold, self.address(partial), chunks,
                 *(self.address(a) for a in _slice(out, maps.start, maps.stop))),
            )  # fmt: skip

        self.retried(some, runs(batch.b, max(1, launches.ROUND_BYTES // (chunks * k * tile.bytes))), 1)
        log_likelihood = self.device.cast(out.log_likelihood, self.real)
        return Moments(*out[:3], log_likelihood), [out.log_likelihood], np.arange(batch.b)

    def retried(self, compute: Callable, rounds: Iterable[range], n: int) -> list:
        """The results of the rounds. On out-of-memory, this and later calls of its kind use smaller rounds."""
        kind = (*self.device.key, self.variant, self.real, self.k, self.d, n, compute.__qualname__)
        retry = OomRetry(compute, note=_warn, size=_round_sizes.get(kind))
        results = [result for one in rounds for result in retry(one)]
        if retry.size is not None:
            _round_sizes[kind] = retry.size
        return results

    def pieces(self, pieces: Pieces, out: _Sums) -> _Sums:
        """The sums of each piece, in `out`."""
        k, d, tile, count = self.k, self.d, TILES[self.real], pieces.total
        variant, huge = self.variant, self.variant.endswith("huge")
        table = self.device.upload(pieces.table) if pieces.table is not None else None
        # Where posteriors do not fit in shared memory, each block of a launch uses its own part of a scratch buffer.
        place = tile.rows * launches.padded(k)
        step = max(1, launches.ROUND_BYTES // (place * tile.bytes)) if huge else count
        scratch = self.device.empty((min(step, count), place), self.real) if huge else None
        for first in range(0, count, step):
            self.device.launch(
                f"moments_{variant}_{self.real}", (min(step, count - first), 1), THREADS,
                launches.shared_bytes(variant, self.real, k, d),
                (pieces.address, CODES[pieces.element], self.address(table), first, pieces.n,
                 int(pieces.of_each[0]), pieces.rows, *pieces.strides,
                 d, k, *(self.address(a) for a in (*self.parameters, *self.screen)), self.close, self.threshold,
                 *(self.address(a) for a in out), self.address(scratch)),
            )  # fmt: skip
        return out

    def finish(self, pieces: _Sums, out: _Sums, groups: int, each: int, edges: np.ndarray | None = None) -> None:
        """out[group] = Σ of the group's pieces: `each` of them, or from edge to edge."""
        elements = self.k + 2 * self.k * self.d + 1
        table = None if edges is None else self.device.upload(edges)
        from_type, to_type = (self.device.describe(a.s0)[1] for a in (pieces, out))
        count = self.device.describe(pieces.s0)[2][0]
        self.device.launch(
            f"finish_{from_type}_{to_type}", (groups, -(-elements // FINISH_THREADS)), FINISH_THREADS, 0,
            (*(self.address(a) for a in pieces), *(self.address(a) for a in out), self.d, self.k, count, each,
             self.address(table)),
        )  # fmt: skip

    def empty(self, rows: int, dtype: str) -> _Sums:
        """Uninitialised sums of `rows` pieces or maps."""
        k, d, empty = self.k, self.d, self.device.empty
        return _Sums(
            empty((rows, k), dtype), empty((rows, k, d), dtype), empty((rows, k, d), dtype), empty((rows,), "float64")
        )

    def address(self, a) -> int:
        return 0 if a is None else self.device.describe(a)[0]


def _warn(note: str) -> None:
    warnings.warn(note, RuntimeWarning, stacklevel=2)


def _slice(sums: _Sums, first: int, last: int) -> _Sums:
    return _Sums(*(a[first:last] for a in sums))
