"""Weighted samples that contain each distinct descriptor once, in an order independent of that of the data."""

from __future__ import annotations

import numpy as np

from ildfv.weighted import Weighted, split

SORTED = 4  # features by which rows are sorted; ties are in the order of a hash, which is faster than sorting by all
BLOCK = 2048  # rows hashed at a time, which bounds the memory


def distinct(rows: np.ndarray, weights: np.ndarray | None) -> np.ndarray | Weighted:
    """The distinct rows of positive weight with the sums of their weights, or only the rows if all sums are 1.

    The rows are sorted by their first SORTED values, then by a hash, and then shuffled with a fixed seed. A start
    computed from the result is therefore bitwise the same if a row of weight 2 is replaced by two rows, if a row of
    weight 0 is removed, and if rows are shuffled.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
    weights : ndarray of shape (n,), optional
        By default 1.
    """
    weights = np.ones(len(rows)) if weights is None else weights
    keys = _hashes(rows)
    order = np.lexsort((keys, *rows[:, :SORTED].T[::-1]))
    order = order[weights[order] > 0]
    rows, weights, keys = rows[order], weights[order], keys[order]
    new = np.append(True, keys[1:] != keys[:-1])
    repeated = np.flatnonzero(~new)
    new[repeated] = (rows[repeated] != rows[repeated - 1]).any(axis=1)  # a collision of two hashes
    firsts = np.flatnonzero(new)
    if len(firsts) < len(rows):
        rows, weights = rows[firsts], np.add.reduceat(weights, firsts)
    # The rows are shuffled, because `thinned` takes evenly spaced rows, which are a random sample only then.
    mixed = np.random.default_rng(0).permutation(len(rows))
    rows, weights = rows[mixed], weights[mixed]
    return rows if (weights == 1).all() else Weighted(rows, weights)


def thinned(sample: np.ndarray | Weighted, rows: int) -> np.ndarray | Weighted:
    """Between `rows` and twice as many descriptors at even distances, or the whole sample if it has fewer.

    With weights, the distances are those between sums of weights: a descriptor is selected once for each position
    within its weight, and the result is weighted by these numbers.
    """
    step = max(1, len(sample) // rows)
    x, weights = split(sample)
    if weights is None:
        return np.ascontiguousarray(x[::step])
    if step == 1:
        return sample
    reached = np.cumsum(weights)
    positions = np.arange(-(-len(x) // step)) * (reached[-1] / -(-len(x) // step))
    found = np.bincount(np.searchsorted(reached, positions, side="right"), minlength=len(x))
    chosen = np.flatnonzero(found)
    return x[chosen] if (found[chosen] == 1).all() else Weighted(x[chosen], found[chosen])


def _hashes(rows: np.ndarray) -> np.ndarray:
    """A 64-bit hash of the values of each row, (n,); equal rows have equal hashes."""
    words = f"u{rows.dtype.itemsize}"
    random = np.random.default_rng(0)
    factors = random.integers(2**63, size=rows.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    found = np.empty(len(rows), np.uint64)
    for start in range(0, len(rows), BLOCK):
        block = np.ascontiguousarray(rows[start : start + BLOCK] + rows.dtype.type(0))  # −0 becomes 0
        found[start : start + BLOCK] = (block.view(words) * factors).sum(axis=1, dtype=np.uint64)
    return found
