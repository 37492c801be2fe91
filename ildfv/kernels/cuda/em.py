"""The M step of EM on the GPU on which the sums are stored, in one launch of csrc/cuda/em.cu."""

from __future__ import annotations

import numpy as np

from ildfv.errors import check
from ildfv.kernels.cuda.device import Device, device_of, own_arrays
from ildfv.kernels.reference import MIN_MASS

THREADS = 256


def m_step(s0, s1, s2, weights, means, variances, *, inertia: float = 0.0) -> tuple:
    """Masses (k,), means (k, d) and variances (k, d), NumPy float64, from the sums on a GPU for the given parameters.

    s0 (k,), s1 (k, d), s2 (k, d): float64. inertia: the given parameters count as this many additional descriptors. The
    results are bitwise identical to those of `ildfv.estimators.em.m_step`. InputError for other shapes or dtypes.
    """
    (ours, _) = own_arrays([s0, s1, s2])
    return compute(device_of(ours[0]), ours, weights, means, variances, inertia=inertia)


def compute(device: Device, sums: list, weights, means, variances, *, inertia: float) -> tuple:
    """`m_step` on a given device."""
    k, d = means.shape
    for name, a, shape in zip(("s0", "s1", "s2"), sums, ((k,), (k, d), (k, d)), strict=True):
        _, dtype, found, _ = device.describe(a)
        check(dtype == "float64", f"{name} must be float64 (moments with pooled=True), got {dtype}")
        check(found == shape, f"{name} must have shape {shape}, got {found}")
    sums = [device.contiguous(a) for a in sums]
    now = device.upload(np.concatenate([np.ravel(np.asarray(a, np.float64)) for a in (weights, means, variances)]))
    out = device.empty((k + 2 * k * d,), "float64")
    device.launch(
        "m_step", (-(-k * d // THREADS), 1), THREADS, 0,
        (*(device.address(a) for a in (*sums, now)), float(inertia), MIN_MASS, k, d, device.address(out)),
    )  # fmt: skip
    masses, means, variances = np.split(device.download(out), [k, k + k * d])  # the only synchronisation
    return masses, means.reshape(k, d), variances.reshape(k, d)
