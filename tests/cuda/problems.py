"""Mixtures, descriptors drawn from them, and distances between results."""

from __future__ import annotations

import numpy as np

from ildfv.kernels.cuda import launches

TOLERANCE = {"float32": 1e-5, "float64": 1e-12, "float16": 1e-5, "bfloat16": 1e-5, "uint8": 1e-5}


def mixture(rng, k: int, d: int, *, spread: float = 2.0, offset: float = 0.0):
    """weights (k,), means (k, d), variances (k, d). A large spread gives peaky posteriors, a small spread soft ones."""
    return (
        rng.dirichlet(np.ones(k)),
        offset + rng.normal(size=(k, d)) * spread / np.sqrt(d / 8 + 1),
        rng.uniform(0.5, 2.0, (k, d)),
    )


def descriptors(rng, parameters, b: int, n: int, dtype=np.float32) -> np.ndarray:
    """Samples of the mixture, (b, n, d)."""
    weights, means, variances = parameters
    component = rng.choice(len(weights), p=weights, size=(b, n))
    x = means[component] + rng.normal(size=(b, n, means.shape[1])) * np.sqrt(variances[component])
    return x.astype(dtype)


def channel_first(x: np.ndarray, width: int) -> np.ndarray:
    """(b, n, d) as (b, d, h, w), the layout of a CNN."""
    b, n, d = x.shape
    return np.ascontiguousarray(x.transpose(0, 2, 1)).reshape(b, d, n // width, width)


def bfloat16_bits(x: np.ndarray) -> np.ndarray:
    """float32 truncated to bfloat16, as two bytes."""
    return (x.view(np.uint32) >> 16).astype(np.uint16)


def from_bits(bits: np.ndarray) -> np.ndarray:
    """bfloat16 bits as float32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def distances(result, expected) -> list[float]:
    """‖difference‖ / ‖expected‖ of s0, s1, s2 and log likelihood."""
    return [
        float(np.linalg.norm(np.asarray(a, dtype=np.float64) - e) / max(float(np.linalg.norm(e)), 1e-300))
        for a, e in zip(result, expected, strict=True)
    ]


# Each result of this batch takes 12.5 MiB, and the sums of its pieces take 37.5 MiB: torch serves smaller requests from
# segments of 20 MiB, which would hide a limit of a few MiB.
SCARCE = {"b": 200, "n": 1458, "d": 256, "k": 64}


def room_for_half(*, pooled: bool) -> int:
    """Number of bytes in which the moments of a batch of shape SCARCE fit only if the rounds are halved."""
    b, n, d, k = SCARCE.values()
    pieces = launches.cut(b * n, k)[0] if pooled else b * launches.cut(n, k)[0]
    results = 0 if pooled else b
    return (results + pieces // 2) * launches.piece_bytes(k, d, "float32") + (24 << 20)


def scarce_batch(rng) -> tuple[np.ndarray, tuple]:
    """Descriptors of shape SCARCE, made of a few repeated maps, and their mixture."""
    b, n, d, k = SCARCE.values()
    parameters = mixture(rng, k, d)
    return np.tile(descriptors(rng, parameters, 8, n), (b // 8, 1, 1)), parameters
