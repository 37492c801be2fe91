"""What every backend asks of a mixture and of options before it computes."""

from __future__ import annotations

import numpy as np

from ildfv.errors import InputError, check


def check_mixture(weights, means, variances) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights (k,), means (k, d) and variances (k, d) as C-contiguous float64."""
    weights, means, variances = (np.ascontiguousarray(a, dtype=np.float64) for a in (weights, means, variances))
    check(weights.ndim == 1 and len(weights) > 0, f"weights must have shape (k,), got {weights.shape}")
    k = len(weights)
    check(
        means.ndim == 2 and len(means) == k and means.shape[1] > 0,
        f"means must have shape ({k}, d) as weights has {k} components, got {means.shape}",
    )
    check(variances.shape == means.shape, f"variances must have shape {means.shape}, got {variances.shape}")
    for name, a in (("weights", weights), ("means", means), ("variances", variances)):
        check(bool(np.isfinite(a).all()), f"{name} must be finite, got NaN or infinity")
    check(
        weights.min() >= 0 and weights.max() > 0,
        f"weights must be ≥ 0 and not all 0, got {weights.min():g} as the least",
    )
    if variances.min() <= 0:
        component, dimension = np.unravel_index(variances.argmin(), variances.shape)
        raise InputError(
            f"variances must be > 0, got {variances.min():g} for component {component}, dimension {dimension}"
        )
    return weights, means, variances


def check_threshold(threshold: float) -> float:
    """The least posterior that counts, in [0, 1)."""
    check(0 <= threshold < 1, f"threshold must be in [0, 1), got {threshold}")
    return float(threshold)


def check_dimensions(d: int, expected: int) -> None:
    """Descriptors as long as the mixture's means."""
    check(d == expected, f"descriptors must have {expected} dimensions as the mixture has, got {d}")


def not_finite(index: int) -> InputError:
    """The error for a map with a value that is not finite."""
    return InputError(f"maps must be finite, got NaN or infinity in map {index}")
