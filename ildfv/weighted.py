"""Maps together with weights of their descriptors, as one object that streams and estimators accept."""

from __future__ import annotations

from typing import Any

import numpy as np

from ildfv.errors import check


class Weighted:
    """Maps or descriptors with a weight for each descriptor.

    Parameters
    ----------
    maps : array of shape (b, n, d), (b, d, h, w) or, for descriptors, (m, d)
        NumPy, torch or CuPy.
    weights : array-like of shape (b, n), or (m,) for descriptors
        Finite and at least 0; descriptors of weight 0 are ignored. For maps (b, d, h, w), n = h·w in row-major order.

    Attributes
    ----------
    maps : array
    weights : ndarray, float64

    Raises
    ------
    InputError
        The weights have a wrong shape, are negative or are not finite.
    """

    def __init__(self, maps: Any, weights: Any):
        self.maps = maps
        self.weights = np.asarray(weights, dtype=np.float64)
        shape = tuple(maps.shape)
        expected = (shape[0], *([int(np.prod(shape[2:]))] if len(shape) == 4 else shape[1:-1]))
        check(
            self.weights.shape == expected,
            f"weights must have one value per descriptor (shape {expected} for maps {shape}), got {self.weights.shape}",
        )
        ok = bool(np.isfinite(self.weights).all()) and (self.weights.size == 0 or self.weights.min() >= 0)
        check(ok, "weights must be finite and at least 0, got NaN, infinity or a negative value")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the maps."""
        return tuple(self.maps.shape)

    @property
    def ndim(self) -> int:
        """Number of axes of the maps."""
        return len(self.maps.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index) -> Weighted:
        """The selected maps and their weights; only the first axis is indexed."""
        first = index[0] if isinstance(index, tuple) else index
        return Weighted(self.maps[first, ...], self.weights[first])

    @property
    def totals(self) -> np.ndarray:
        """The sum of the weights of each map, (b,)."""
        return self.weights.sum(axis=-1)


def with_unit_mean(parts: list[Weighted]) -> list[Weighted]:
    """The parts, with all weights divided by the mean of the positive ones if this mean is below 1.

    Weights may be numbers of duplicates, which are at least 1, or relative: only their ratios matter, as if they sum to
    1. Relative weights are scaled here, so that sums of weights can be compared with numbers of descriptors.
    """
    positive = sum(int((part.weights > 0).sum()) for part in parts)
    total = sum(float(part.weights.sum()) for part in parts)
    if not 0 < total < positive:
        return parts
    return [Weighted(part.maps, part.weights / (total / positive)) for part in parts]


def split(maps: Any) -> tuple[Any, np.ndarray | None]:
    """(maps, weights); weights are None unless `maps` is a `Weighted`."""
    return (maps.maps, maps.weights) if isinstance(maps, Weighted) else (maps, None)
