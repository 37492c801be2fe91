"""Contributions of descriptors to functionals of the moments, on NVIDIA GPUs. Counterpart of `ildfv.kernels.cpu`."""

from __future__ import annotations

import numpy as np

from ildfv.arrays import to_numpy
from ildfv.errors import check
from ildfv.kernels.checks import OUT_OF_RANGE, check_dimensions, check_functionals, check_threshold
from ildfv.kernels.cuda import launches
from ildfv.kernels.cuda.checked import checked_weights, first_bad_map
from ildfv.kernels.cuda.device import Device, device_of, own_arrays
from ildfv.kernels.cuda.launches import THREADS, TILES
from ildfv.kernels.cuda.layout import listed, pieces_of, ragged, uniform
from ildfv.kernels.cuda.parameters import prepared
from ildfv.kernels.elements import CODES


def contributions(
    maps, weights, means, variances, first, second, *, threshold: float = 1e-6, descriptor_weights=None
) -> list:
    """Contribution of every descriptor to C linear functionals of its map's moments, float64 (n_i, C) for each map.

    Like `ildfv.kernels.cpu.contributions`, for GPU arrays. The results are views of one array, of the same library and
    on the same device as the maps. d ≤ 4096, k ≤ 1024. first, second, descriptor_weights: in host memory or on a GPU.
    InputError as in that function, and for larger d or k.
    """
    several = isinstance(maps, (list, tuple))
    check(not several or len(maps) > 0, "maps must contain at least one map, got an empty batch")
    ours, give = own_arrays(list(maps) if several else [maps])
    found = compute(
        device_of(ours[0]), ours if several else ours[0], weights, means, variances, to_numpy(first), to_numpy(second),
        threshold=threshold, descriptor_weights=descriptor_weights,
    )  # fmt: skip
    return [give(a) for a in found]


def compute(
    device: Device, maps, weights, means, variances, first, second, *, threshold: float, descriptor_weights=None
) -> list:
    """`contributions` on a given device."""
    mixture = prepared(*(a if type(a) is np.ndarray else to_numpy(a) for a in (weights, means, variances)))
    threshold, k, d = check_threshold(threshold), mixture.k, mixture.d
    launches.check_size(k, d)
    batch = ragged(device, maps) if isinstance(maps, (list, tuple)) else uniform(device, maps)
    check_dimensions(batch.d, d)
    first, second = check_functionals(first, second, batch.b, (k, d))
    real = "float64" if batch.element == "float64" else "float32"
    if descriptor_weights is not None:
        descriptor_weights = checked_weights(descriptor_weights, batch, real)
        batch = batch.weighted(device, np.concatenate(descriptor_weights))

    count, edges = first.shape[1], np.concatenate([[0], np.cumsum(batch.counts)])
    out = device.empty((int(edges[-1]), count), "float64")
    functionals = device.upload(np.concatenate([first.ravel(), second.ravel()]).astype(real))
    table, owners = _table(batch, k, edges)
    logs = device.empty((len(table),), "float64")
    _launch(device, real, mixture, threshold, batch.element, table, functionals, first, out, logs)

    values = device.download(logs)  # the only synchronisation
    if not np.isfinite(values).all():
        owner = int(owners[np.flatnonzero(~np.isfinite(values))[0]])
        first_bad_map(device, maps, [owner], descriptor_weights)
        check(real == "float32", OUT_OF_RANGE)
        double = [device.cast(a, "float64") for a in maps] if batch.table is not None else device.cast(maps, "float64")
        return compute(
            device,
            double,
            weights,
            means,
            variances,
            first,
            second,
            threshold=threshold,
            descriptor_weights=descriptor_weights,
        )
    return [out[start:stop] for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)]


def _table(batch, k: int, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The table `pieces` of contributions.cu, (pieces, 7), and the map of each piece."""
    pieces = pieces_of(listed(batch), k, range(batch.b))
    assert pieces.table is not None  # `listed` returns a batch with a table
    assert pieces.edges is not None
    owners = np.repeat(np.arange(batch.b), np.diff(pieces.edges))
    within = np.cumsum(pieces.table[:, 1]) - pieces.table[:, 1]  # first row of each piece in `out`
    assert within[-1] + pieces.table[-1, 1] == edges[-1]
    return np.column_stack([pieces.table, within, owners]), owners


def _launch(device: Device, real: str, mixture, threshold, element, table, functionals, first, out, logs) -> None:
    """Queues the launches for all pieces: more than one if the posteriors do not fit in shared memory."""
    (per_map, count, k, d), tile = first.shape, TILES[real]
    variant = "wide" if launches.shared_bytes("wide", real, k, d) <= device.shared_limit else "huge"
    place, rows = tile.rows * launches.padded(k), len(table)
    step = max(1, launches.ROUND_BYTES // (place * tile.bytes)) if variant == "huge" else rows
    scratch = device.empty((min(step, rows), place), real) if variant == "huge" else None
    pieces, address = device.upload(table), device.address(functionals)
    for start in range(0, rows, step):
        device.launch(
            f"contributions_{variant}_{real}", (min(step, rows - start), 1), THREADS,
            launches.shared_bytes(variant, real, k, d),
            (device.address(pieces), CODES[element], start, d, k, *mixture.on(device, real), threshold,
             address, address + first.size * tile.bytes, count, count * k * d if per_map > 1 else 0,
             device.address(out), device.address(logs), 0 if scratch is None else device.address(scratch)),
        )  # fmt: skip
