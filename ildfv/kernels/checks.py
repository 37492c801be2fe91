"""Checks of mixtures, options and descriptor weights, shared by all backends."""

from __future__ import annotations

import numpy as np

from ildfv.errors import InputError, check, check_number

# For values whose squared distances overflow float64.
OUT_OF_RANGE = (
    "values of maps must be within 1e154 standard deviations of a mean of the mixture: rescale the descriptors"
)
WEIGHT_SUM_TOLERANCE = 1e-4  # far above the rounding of thousands of float32 weights


def check_mixture(weights, means, variances) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights (k,), means (k, d) and variances (k, d) as C-contiguous float64; InputError for an invalid mixture."""
    weights, means, variances = (
        _float64(a, name) for a, name in ((weights, "weights"), (means, "means"), (variances, "variances"))
    )
    check(weights.ndim == 1 and len(weights) > 0, f"weights must have shape (k,), got {weights.shape}")
    k = len(weights)
    check(
        means.ndim == 2 and len(means) == k and means.shape[1] > 0,
        f"means must have shape ({k}, d), with a row for each of the {k} weights, got {means.shape}",
    )
    check(variances.shape == means.shape, f"variances must have shape {means.shape}, got {variances.shape}")
    for name, a in (("weights", weights), ("means", means), ("variances", variances)):
        check(bool(np.isfinite(a).all()), f"{name} must be finite, got NaN or infinity")
    least, total = weights.min().item(), weights.sum().item()
    check(least >= 0, f"weights must be ≥ 0, got a minimum of {least:g}")
    # With another sum, the log likelihood would be wrong.
    check(abs(total - 1) <= WEIGHT_SUM_TOLERANCE, f"weights must add up to 1, got {total:g}")
    if variances.min() <= 0:
        component, dimension = np.unravel_index(variances.argmin(), variances.shape)
        raise InputError(
            f"variances must be > 0, got {variances.min():g} for component {component}, dimension {dimension}"
        )
    return weights, means, variances


def check_threshold(threshold: float) -> float:
    """The threshold on posteriors as a float; InputError unless it is in [0, 1)."""
    return check_number(threshold, "threshold", "in [0, 1)", lambda t: 0 <= t < 1)


def check_dimensions(d: int, expected: int) -> None:
    """Raises InputError unless descriptors have as many dimensions as the mixture."""
    check(d == expected, f"descriptors must have {expected} dimensions like the mixture, got {d}")


def check_descriptor_weights(weights, counts: list[int]) -> list[np.ndarray]:
    """Weights of descriptors, float64 (n_i,) per map.

    counts: the number of descriptors of each map. InputError: other shapes, or weights that are negative or not finite.
    """
    check(len(weights) == len(counts), f"weights must have one entry per map ({len(counts)}), got {len(weights)}")
    checked = []
    for i, n in enumerate(counts):
        a = np.ascontiguousarray(weights[i], dtype=np.float64)
        check(a.shape == (n,), f"weights must have one value per descriptor ({n} in map {i}), got shape {a.shape}")
        wrong = ~(np.isfinite(a) & (a >= 0))
        if wrong.any():
            at = int(wrong.argmax())
            raise InputError(f"weights must be finite and at least 0, got {a[at]:g} for descriptor {at} of map {i}")
        checked.append(a)
    return checked


def check_functionals(first, second, b: int, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """`first` and `second` as C-contiguous float64 arrays (b, C, k, d), or (1, C, k, d) if they apply to all maps.

    b: number of maps. shape: (k, d). InputError: other or different shapes, or values that are not finite real numbers.
    """
    checked = []
    for name, a in (("first", first), ("second", second)):
        a = _float64(a, name)
        a = a[None] if a.ndim == 3 else a
        fits = a.ndim == 4 and a.shape[0] in (1, b) and a.shape[1] > 0 and a.shape[2:] == shape
        rule = f"{name} must have shape (C, {shape[0]}, {shape[1]}) or ({b}, C, {shape[0]}, {shape[1]})"
        check(fits, f"{rule}, got {a.shape}")
        check(bool(np.isfinite(a).all()), f"{name} must be finite, got NaN or infinity")
        checked.append(a)
    check(checked[0].shape == checked[1].shape, f"second must have shape {checked[0].shape}, got {checked[1].shape}")
    return checked[0], checked[1]


def not_finite(index: int) -> InputError:
    """The error for a map that contains a non-finite value."""
    return InputError(f"maps must be finite, got NaN or infinity in map {index}")


def _float64(a, name: str) -> np.ndarray:
    """`a` as a C-contiguous float64 array. InputError: not real numbers. name: for the message."""
    a = np.asarray(a)
    check(a.dtype.kind in "fiub", f"{name} must contain real numbers, got dtype {a.dtype.name}")
    return np.ascontiguousarray(a, dtype=np.float64)
