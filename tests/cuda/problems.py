"""Mixtures, descriptors drawn from them, and distances between results."""

from __future__ import annotations

import numpy as np

TOLERANCE = {"float32": 1e-5, "float64": 1e-12, "float16": 1e-5, "bfloat16": 1e-5, "uint8": 1e-5}


def mixture(rng, k: int, d: int, *, spread: float = 2.0, offset: float = 0.0):
    """weights (k,), means (k, d), variances (k, d). With a large spread posteriors are peaky, with a small one soft."""
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
