"""The launches of one call of `moments`, in rounds that fit in the device's memory.

A piece is a part of a map whose sums one block of threads computes (`layout`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from ildfv.kernels.cuda import launches
from ildfv.kernels.cuda.device import Device
from ildfv.kernels.cuda.launches import FINISH_THREADS, TENSOR, THREADS, TILES
from ildfv.kernels.cuda.layout import Batch, Pieces, pieces_of, rounds, runs
from ildfv.kernels.cuda.oom import OomRetry
from ildfv.kernels.cuda.parameters import NO_PRODUCTS, PreparedMixture
from ildfv.kernels.elements import CODES, element_bytes
from ildfv.kernels.reference import Moments

# Log likelihoods on the device, and a function from their indices to those of the maps.
Logs = list[tuple[Any, Callable[[int], int]]]

_round_sizes: dict[tuple, int] = {}  # kind of call → round size that fitted in memory after a larger one did not


class Sums(NamedTuple):
    """Addresses of s0 (rows, k), s1 (rows, k, d), s2 (rows, k, d) and log likelihood (rows,), the last in float64."""

    s0: int
    s1: int
    s2: int
    log_likelihood: int
    real: str  # dtype of the first three
    held: Any  # a reference that keeps the memory alive

    def part(self, first: int, k: int, d: int) -> Sums:
        """The sums without the rows before `first`."""
        size = first * TILES[self.real].bytes
        s1, s2 = self.s1 + size * k * d, self.s2 + size * k * d
        return Sums(self.s0 + size * k, s1, s2, self.log_likelihood + 8 * first, self.real, self.held)


class Run:
    """One call of `moments`. variant: one of `launches.VARIANTS`; if None, shape and device decide."""

    def __init__(self, device: Device, real: str, mixture: PreparedMixture, threshold: float, variant: str | None):
        self.device, self.real, self.k, self.d = device, real, mixture.k, mixture.d
        self.threshold, self.mixture = threshold, mixture  # the mixture keeps its parameters' memory alive
        if variant is None:
            tensor = device.tensor_cores and real == "float32" and threshold > 0 and self.k >= launches.TENSOR_K
            tensor = tensor and mixture.within_bfloat16
            variant = launches.choose(real, self.k, self.d, device.shared_limit, tensor=tensor)
        elif real == "float64":
            variant = variant.removeprefix(TENSOR)  # tensor cores are not used in double precision
        self.variant = variant
        self.parameters = mixture.on(device, real)
        self.products = mixture.products_on(device) if variant.startswith(TENSOR) else NO_PRODUCTS

    def separate(self, batch: Batch) -> tuple[Moments, Logs]:
        """Moments of each map, and the log likelihoods of the pieces."""
        out, sums_of_maps = self._results(batch.b, self.real)

        def launch_round(maps: range):
            pieces, own = pieces_of(batch, self.k, maps), sums_of_maps.part(maps.start, self.k, self.d)
            if pieces.each == 1:
                self._pieces(pieces, own)
                return out[3][maps.start : maps.stop], lambda i: maps.start + i
            sums, logs = self._scratch(pieces.total, self.real)
            self._pieces(pieces, sums)
            self._finish(sums, pieces.total, own, len(maps), pieces.each, None if pieces.each else pieces.edges)
            return logs, lambda piece: maps.start + pieces.map_of(piece)

        room = launches.ROUND_BYTES // launches.piece_bytes(self.k, self.d, self.real)
        logs = self._retried(launch_round, rounds(batch, self.k, room), batch.n)
        return self._moments(out), logs

    def pooled(self, batch: Batch) -> tuple[Moments, Logs]:
        """Moments pooled over all maps. Sums of pieces are added in groups, and the sums of groups in order.

        The order of additions, and therefore the last bit, depends neither on the rounds nor on the device's memory.
        """
        pieces, group = pieces_of(batch, self.k, range(batch.b)), launches.group(self.k, self.d, self.real)
        total: tuple[list, Sums] | None = None

        def launch_round(groups: range):
            nonlocal total
            part = pieces.part(groups.start * group, min(groups.stop * group, pieces.total))
            sums, logs = self._scratch(part.total, self.real)
            self._pieces(part, sums)
            before = 0 if total is None else 1
            terms, _ = self._scratch(before + len(groups), "float64")
            added = self._results(1, "float64")
            self._finish(sums, part.total, terms.part(before, self.k, self.d), len(groups), group)
            if total is not None:
                self._finish(total[1], 1, terms, 1, 1)
            self._finish(terms, before + len(groups), added[1], 1, before + len(groups))
            total = added  # assigned last, so that a round that ran out of memory has added nothing
            return logs, lambda piece: 0

        room = max(1, launches.ROUND_BYTES // (group * launches.piece_bytes(self.k, self.d, self.real)))
        logs = self._retried(launch_round, runs(-(-pieces.total // group), room), 0)
        assert total is not None  # there is at least one map, so at least one piece
        return Moments(*(a[0] for a in total[0])), logs

    def singles(self, batch: Batch) -> tuple[Moments, Logs]:
        """Moments of maps with one descriptor each. These results are far larger than the maps."""
        tile, (k, d) = TILES[self.real], (self.k, self.d)
        chunks = -(-d // tile.dimensions)
        out, sums = self._results(batch.b, self.real)
        scoring, spreading = launches.singles_shared_bytes(self.real, k)
        by_map, _, by_dim = batch.strides
        centre, scale, shift, constant = self.parameters

        def launch_round(maps: range) -> None:
            count = len(maps)
            partial = self.device.empty((chunks, count, k), self.real)
            place, own = self.device.address(partial), sums.part(maps.start, k, d)
            address = batch.address + maps.start * by_map * element_bytes(batch.element)
            weights = batch.weights and batch.weights + maps.start * tile.bytes
            common = (address, CODES[batch.element], count, by_map, by_dim, d, k, centre, scale, shift)
            self.device.launch(
                f"score_singles_{self.real}", (-(-count // tile.rows), chunks), THREADS, scoring, (*common, place)
            )
            self.device.launch(
                f"spread_singles_{self.real}", (-(-count // tile.singles), chunks), THREADS, spreading,
                (*common, constant, weights, self.threshold, place, chunks, *own[:4]),
            )  # fmt: skip

        self._retried(launch_round, runs(batch.b, max(1, launches.ROUND_BYTES // (chunks * k * tile.bytes))), 1)
        return self._moments(out), [(out[3], lambda i: i)]

    def _retried(self, compute: Callable, rounds: Iterable[range], n: int) -> list:
        """The results of compute(round) for all rounds.

        If memory runs out, this call, and later ones of the same kind, use smaller rounds.
        """
        kind = (*self.device.key, self.variant, self.real, self.k, self.d, n, compute.__qualname__)
        retry = OomRetry(compute, note=_warn, size=_round_sizes.get(kind))
        results = [result for round in rounds for result in retry(round)]
        if retry.size is not None:
            _round_sizes[kind] = retry.size
        return results

    def _pieces(self, pieces: Pieces, out: Sums) -> None:
        """Computes the sums of each piece and writes them to `out`."""
        k, d, tile, count = self.k, self.d, TILES[self.real], pieces.total
        variant, huge = self.variant, self.variant.endswith("huge")
        table = None if pieces.table is None else self.device.upload(pieces.table)
        # If posteriors do not fit in shared memory, each block of a launch uses a separate part of a scratch buffer.
        place = tile.rows * launches.padded(k)
        step = max(1, launches.ROUND_BYTES // (place * tile.bytes)) if huge else count
        scratch = self.device.empty((min(step, count), place), self.real) if huge else None
        for first in range(0, count, step):
            self.device.launch(
                f"moments_{variant}_{self.real}", (min(step, count - first), 1), THREADS,
                launches.shared_bytes(variant, self.real, k, d),
                (pieces.address, CODES[pieces.element], self._address(table), first, pieces.n, max(1, pieces.each),
                 pieces.rows, *pieces.strides, pieces.weights, d, k, *self.parameters, *self.products, self.threshold,
                 *out[:4], self._address(scratch)),
            )  # fmt: skip

    def _finish(
        self, pieces: Sums, count: int, out: Sums, groups: int, each: int, edges: np.ndarray | None = None
    ) -> None:
        """out[group] = Σ of the pieces of a group: `each` pieces, or those between two consecutive `edges`."""
        elements = self.k + 2 * self.k * self.d + 1
        table = None if edges is None else self.device.upload(edges)
        self.device.launch(
            f"finish_{pieces.real}_{out.real}", (groups, -(-elements // FINISH_THREADS)), FINISH_THREADS, 0,
            (*pieces[:4], *out[:4], self.d, self.k, count, each, self._address(table)),
        )  # fmt: skip

    def _results(self, rows: int, real: str) -> tuple[list, Sums]:
        """Uninitialised arrays s0, s1, s2 and log likelihood of `rows` maps."""
        shapes = ((rows, self.k), (rows, self.k, self.d), (rows, self.k, self.d))
        arrays = [*(self.device.empty(shape, real) for shape in shapes), self.device.empty((rows,), "float64")]
        s0, s1, s2, logs = (self.device.address(a) for a in arrays)
        return arrays, Sums(s0, s1, s2, logs, real, arrays)

    def _moments(self, arrays: list) -> Moments:
        """The arrays as `Moments`, with the log likelihood converted to the precision of the other arrays."""
        s0, s1, s2, log_likelihood = arrays
        return Moments(s0, s1, s2, self.device.cast(log_likelihood, self.real))

    def _scratch(self, rows: int, real: str) -> tuple[Sums, Any]:
        """Uninitialised sums of `rows` pieces in one array, and the array of their log likelihoods."""
        matrix = rows * self.k * self.d
        values, logs = self.device.empty((2 * matrix + rows * self.k,), real), self.device.empty((rows,), "float64")
        s1, size = self.device.address(values), TILES[real].bytes
        s2 = s1 + matrix * size
        return Sums(s2 + matrix * size, s1, s2, self.device.address(logs), real, (values, logs)), logs

    def _address(self, a) -> int:
        return 0 if a is None else self.device.address(a)


def _warn(note: str) -> None:
    warnings.warn(note, RuntimeWarning, stacklevel=2)
