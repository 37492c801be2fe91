"""Fisher vectors from moments on a GPU, in one launch of csrc/cuda/fisher.cu."""

from __future__ import annotations

import numpy as np

from ildfv.errors import check
from ildfv.kernels.cuda.device import Device, device_of, own_arrays
from ildfv.kernels.reference import MIN_WEIGHT, Moments

THREADS = 256
SHARED_BYTES = THREADS // 32 * 8  # one double per warp


def vectors(m: Moments, counts, weights, *, improved: bool = True, order: str = "component", weight_part: bool = False):
    """Fisher vectors (b, 2·k·d), or (b, 2·k·d + k) with the weight part, of the moments of b maps, in their library.

    counts: number of descriptors of each map, or the sum of their weights, (b,). weights: of the mixture, (k,).
    improved, order, weight_part: as in `ildfv.kernels.reference.vectors`. The launch is queued on the current stream. A
    vector is bitwise identical in any batch of maps. InputError: shapes or dtypes do not match.
    """
    ours, give = own_arrays(list(m[:3]))
    device = device_of(ours[0])
    return give(compute(device, ours, counts, weights, improved=improved, order=order, weight_part=weight_part))


def compute(device: Device, sums: list, counts, weights, *, improved: bool, order: str, weight_part: bool):
    """`vectors` on a given device."""
    counts, weights = (np.asarray(a, dtype=np.float64) for a in (counts, weights))
    k = len(weights)
    _, real, shape, _ = device.describe(sums[1])
    check(real in ("float32", "float64"), f"moments must be float32 or float64, got {real}")
    check(
        len(shape) == 3 and shape[1] == k, f"s1 must have shape (b, {k}, d) for weights of {k} components, got {shape}"
    )
    b, _, d = shape
    check(counts.shape == (b,), f"counts must have shape ({b},), one per map, got {counts.shape}")
    sums = [device.contiguous(a) for a in sums]
    for name, a, expected in zip(("s0", "s1", "s2"), sums, ((b, k), shape, shape), strict=True):
        _, dtype, found, _ = device.describe(a)
        check(dtype == real, f"{name} must be {real} like s1, got {dtype}")
        check(found == expected, f"{name} must have shape {expected}, got {found}")
    heavy = weights >= MIN_WEIGHT
    roots = np.where(heavy, 1 / np.sqrt(np.where(heavy, weights, 1.0)), 0.0)
    counts = np.where(counts > 0, counts, 1.0)  # the sums are 0 if all weights of a map are 0
    numbers = device.upload(np.concatenate([counts, roots, weights]))
    out = device.empty((b, 2 * k * d + (k if weight_part else 0)), real)
    address = device.address(numbers)
    device.launch(
        f"fisher_{real}", (b, 1), THREADS, SHARED_BYTES,
        (*(device.address(a) for a in sums), address, address + 8 * b, address + 8 * (b + k), k, d, int(improved),
         int(order == "component"), int(weight_part), device.address(out)),
    )  # fmt: skip
    return out
