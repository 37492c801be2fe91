"""Maps of slices kept in memory, so that several passes over a small slice set compute them once."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any

import numpy as np

from ildfv.weighted import split

# Enough for the maps of 1,700 slices of "filters" or of 1,300 slices of conv1. Recipes for more slices take hours in
# any case, and a limit keeps memory independent of their number.
BUDGET = 1 << 30  # bytes


class MapMemory:
    """The maps of batches of slices, at most `budget` bytes in total; the batches that were computed first are kept.

    Maps are returned for the same batch only: the last bits of a network's activations depend on the other slices of
    its batch. Results are therefore the same for any budget. The maps must not be modified.
    """

    def __init__(self, budget: int = BUDGET):
        self.budget = budget
        self.used = 0
        self._kept: dict[bytes, Any] = {}
        self._lock = Lock()  # batches are computed in several threads

    def maps(self, batch: np.ndarray, compute: Callable[[np.ndarray], Any]) -> Any:
        """compute(batch), or its result of an earlier call. batch: indices of slices."""
        key = np.asarray(batch, np.int64).tobytes()
        if key not in self._kept:
            result = compute(batch)
            size = n_bytes(result)
            with self._lock:
                if key not in self._kept and self.used + size <= self.budget:
                    self._kept[key] = result
                    self.used += size
            return result
        return self._kept[key]


def n_bytes(maps: Any) -> int:
    """Memory of maps and of their weights."""
    maps, weights = split(maps)
    return int(maps.nbytes) + (0 if weights is None else weights.nbytes)
