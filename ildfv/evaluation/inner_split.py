"""The split of a fold's training patients into fit and validation patients, with every pattern in both if possible."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import comb

import numpy as np

from ildfv.evaluation.stratify import partition

EXHAUSTIVE = 50_000  # up to this number of selections, all are compared, which takes about a second
ROUNDS = 100  # maximum number of exchanges; each removes a gap or improves the balance


def split_off(
    amounts: np.ndarray,
    shown: np.ndarray,
    size: int,
    *,
    weights: Sequence[float] | None = None,
    seed: int | Sequence[int] = 0,
) -> np.ndarray:
    """Whether each patient is selected for validation, bool (P,). At least one is selected, and at least one is not.

    A gap is a pattern that at least two patients have but that one of the two parts lacks, because all or none of these
    patients are selected. The selection has as few gaps as possible. If `size` patients leave a gap, more patients are
    selected, up to half of all P patients, but no more than needed. Of the selections with the fewest gaps, the one
    that divides `amounts` most evenly is returned.

    Parameters
    ----------
    amounts : array, shape (P, Q)
        Amount of each quantity, such as a number of slices, that each patient has.
    shown : array of bool, shape (P, C)
        Whether each patient has each pattern.
    size : int
        Requested number of selected patients, limited to 1 to P − 1.
    weights : sequence of float, shape (Q,), optional
        Importance of each quantity, as in `partition`.
    seed : int or sequence of int
        Breaks ties between equally good selections.
    """
    n = len(amounts)
    size = min(max(size, 1), n - 1)
    best, fewest = np.zeros(n, dtype=bool), np.inf
    for selected in range(size, max(size, n // 2) + 1):
        candidate = _of_size(np.asarray(amounts, dtype=float), np.asarray(shown, dtype=bool), selected, weights, seed)
        gaps = int(_gaps(candidate[None] @ shown.astype(int), shown)[0])
        if gaps < fewest:
            best, fewest = candidate, gaps
        if gaps == 0:
            break
    return best


def _of_size(amounts: np.ndarray, shown: np.ndarray, size: int, weights, seed) -> np.ndarray:
    """The best selection of exactly `size` patients, bool (P,). If P is large, it is only a local optimum."""
    n, total = len(amounts), amounts.sum(0)
    scale = np.sqrt(np.ones(len(total)) if weights is None else np.asarray(weights, dtype=float))
    x = amounts / np.where(total > 0, total, 1) * scale  # (P, Q): each patient's weighted share of each quantity
    target = np.where(total > 0, size / n, 0) * scale  # (Q,)
    if comb(n, size) <= EXHAUSTIVE:
        order = np.random.default_rng(seed).permutation(n)
        chosen = np.array(list(combinations(range(n), size)))  # (S, size)
        gaps = _gaps(shown[order][chosen].sum(1), shown)
        uneven = ((x[order][chosen].sum(1) - target) ** 2).sum(1)
        first = np.lexsort((uneven.round(12), gaps))[0]  # rounded, so that the order of summation has no influence
        return np.isin(np.arange(n), order[chosen[first]])
    selected = partition(amounts, [n - size, size], weights=weights, seed=seed) == 1
    for _ in range(ROUNDS):
        ours, theirs = np.flatnonzero(selected), np.flatnonzero(~selected)
        now = _gaps(selected[None] @ shown.astype(int), shown)[0]
        counts = shown[ours].sum(0) - shown[ours].astype(int)[:, None] + shown[theirs].astype(int)  # (size, rest, C)
        sums = x[ours].sum(0) - x[ours][:, None] + x[theirs] - target  # (size, rest, Q)
        gaps, uneven = _gaps(counts, shown), (sums**2).sum(-1)
        i, j = np.unravel_index(np.lexsort((uneven.ravel(), gaps.ravel()))[0], gaps.shape)
        before = ((x[ours].sum(0) - target) ** 2).sum()
        if (gaps[i, j], uneven[i, j]) >= (now, before - 1e-12):
            break
        selected[[ours[i], theirs[j]]] = False, True
    return selected


def _gaps(counts: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Number of gaps of each selection, see `split_off`. counts (…, C): number of selected patients per pattern."""
    total = shown.sum(0)
    return (((counts == 0) | (counts == total)) & (total >= 2)).sum(-1)
