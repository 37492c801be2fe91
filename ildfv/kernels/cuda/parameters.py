"""Mixture parameters for the CUDA kernels: a, b, c of mixture.h, and their products for tensor cores."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ildfv.kernels.cuda.device import Device
from ildfv.kernels.cuda.launches import CLOSE, SLACK

_prepared: dict[tuple, tuple] = {}  # device and precision → the last mixture, on the host and on the device


def on_device(device: Device, real: str, mixture: tuple, make: Callable) -> tuple:
    """make(mixture, real) with its arrays on the device.

    The arrays of the last mixture are cached, because encoding uses the same mixture for every batch.
    """
    key = (*device.key, real, make)
    if key in _prepared:
        before, ready = _prepared[key]
        if all(np.array_equal(x, y) for x, y in zip(before, mixture, strict=True)):
            return ready
    made = make(mixture, real)
    ready = tuple(device.upload(np.ascontiguousarray(a)) if isinstance(a, np.ndarray) else a for a in made)
    device.settle()  # another stream may use them next
    _prepared[key] = tuple(a.copy() for a in mixture), ready
    return ready


def _exact(mixture: tuple, real: str) -> tuple:
    """centre (d,), scale (k, d), shift (k, d), constant (k,) of mixture.h, in float64, the centre in `real`."""
    weights, means, variances = mixture
    # The centre is weighted towards narrow components, where the rounding of x − centre matters most.
    lean = weights[:, None] / variances
    centre = ((lean * means).sum(axis=0) / lean.sum(axis=0)).astype(real)
    scale = 1.0 / np.sqrt(variances)
    shift = (centre - means) * scale
    with np.errstate(divide="ignore"):  # a weight of 0 gives a score of −∞ and a posterior of 0
        constant = np.log(weights) - 0.5 * (means.shape[1] * np.log(2 * np.pi) + np.log(variances).sum(axis=1))
    return centre, scale, shift, constant


def fma(mixture: tuple, real: str) -> tuple:
    """centre, scale, shift and constant, rounded once."""
    return tuple(a.astype(real) for a in _exact(mixture, real))


def tensor_cores(mixture: tuple, real: str) -> tuple:
    """squares and products (k, d4), base and slack (k,) of mma.h, and whether all means are close to the centre."""
    _, scale, shift, constant = _exact(mixture, real)
    spread = (shift**2).sum(axis=1)  # Σ b², (k,)
    base = constant - 0.5 * spread
    known = np.where(np.isfinite(constant), constant, 0.0)  # the score of a component of weight 0 is exactly −∞
    slack = SLACK * (2 * known + spread) + 1e-6 * (1 + np.abs(known))
    parts = _bfloat16_parts(scale**2), _bfloat16_parts(2 * scale * shift)
    return *parts, base.astype(real), slack.astype(real), bool(np.abs(shift).max() <= CLOSE)


def _bfloat16_parts(a: np.ndarray) -> np.ndarray:
    """a (k, d) as float32-sized words (k, d4): per four dimensions, four high parts, then four low parts."""
    a = np.pad(a, ((0, 0), (0, -a.shape[1] % 4)))
    high = _bfloat16(a)
    low = _bfloat16(a - (high.astype(np.uint32) << 16).view(np.float32))
    fours = np.stack([part.reshape(len(a), -1, 4) for part in (high, low)], axis=2)  # (k, d4/4, 2, 4)
    return np.ascontiguousarray(fours).view(np.float32).reshape(a.shape)


def _bfloat16(a: np.ndarray) -> np.ndarray:
    """The bits of a, rounded to bfloat16, uint16."""
    bits = a.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def within_bfloat16(mixture: tuple) -> bool:
    """Whether squares of 1/sd and of distances in sd are far from the limits of float32."""
    _, scale, shift, _ = _exact(mixture, "float32")
    return bool(scale.min() >= 2.0**-40 and max(scale.max(), np.abs(shift).max()) <= 2.0**40)
