"""Partition patients into parts of given sizes so that quantities such as slices per pattern are balanced."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

PASSES = 50  # of exchanges; cohorts of 20 to 700 patients converge in fewer than ten
STARTS, WORK = 16, 2000  # random starts; fewer if starts × patients exceeds WORK, as large cohorts need only one


def partition(
    amounts: np.ndarray,
    sizes: Sequence[int],
    *,
    weights: Sequence[float] | None = None,
    seed: int | Sequence[int] = 0,
) -> np.ndarray:
    """Part of each patient, shape (P,), int: part f gets exactly `sizes[f]` patients.

    amounts (P, Q): amount of each quantity that a patient has; weights (Q,): importance of each quantity. Minimises
    Σ_f Σ_q weight_q · (share of q in part f − sizes[f]/P)² from several random starts, first greedily, then by
    exchanging pairs of patients until no exchange helps. Patients with the rarest quantities are assigned first, as in
    iterative stratification (Sechidis, Tsoumakas, Vlahavas 2011); unlike that method this one balances slices and
    patients at the same time and keeps the sizes. Equal inputs and seeds give equal parts.
    """
    amounts = np.asarray(amounts, dtype=float)
    total = amounts.sum(0)
    there = total > 0
    scale = np.sqrt(np.ones(len(total)) if weights is None else np.asarray(weights, dtype=float))[there]
    x = amounts[:, there] / total[there] * scale  # (P, Q): weighted shares of a whole
    room = np.array(sizes)  # (F,)
    target = (room / room.sum())[:, None] * scale  # (F, Q)

    rng = np.random.default_rng(seed)
    starts = max(1, min(STARTS, WORK // max(len(x), 1)))
    found = [_partition_once(x, room.copy(), target, rng) for _ in range(starts)]
    return min(found, key=lambda one: one[0])[1]


def _partition_once(
    x: np.ndarray, room: np.ndarray, target: np.ndarray, rng: np.random.Generator
) -> tuple[float, np.ndarray]:
    """(cost, part of each patient) from one random start; decrements `room` to 0."""
    rarity = x.max(1, initial=0.0)  # the largest share of any quantity that the patient has
    order = rng.permutation(len(x))
    order = order[np.argsort(-rarity[order], kind="stable")]

    part = np.full(len(x), -1)
    excess = -target  # (F, Q): assigned share − target share
    for patient in order:
        # Adding x to a part changes its cost by Σ_q (e + x)² − e² = Σ_q x·(2e + x); x² is equal for all parts.
        cost = excess @ x[patient] + 1e-9 * rng.random(len(room))  # noise breaks ties between equally empty parts
        best = int(np.argmin(np.where(room > 0, cost, np.inf)))
        part[patient] = best
        excess[best] += x[patient]
        room[best] -= 1

    for _ in range(PASSES):
        if not any([_exchange(patient, x, part, excess) for patient in order]):
            break
    return float((excess**2).sum()), part


def _exchange(i: int, x: np.ndarray, part: np.ndarray, excess: np.ndarray) -> bool:
    """Swaps patient i with the patient of another part that lowers the cost most; False if none does."""
    a = part[i]
    step = x - x[i]  # (P, Q): gain of part a, and loss of the other part, if i is swapped for j
    gain = 2 * np.einsum("pq,pq->p", step, step) + 2 * np.einsum("pq,pq->p", step, excess[a] - excess[part])
    gain[part == a] = np.inf
    j = int(np.argmin(gain))
    if gain[j] > -1e-12:
        return False
    excess[a] += step[j]
    excess[part[j]] -= step[j]
    part[i], part[j] = part[j], part[i]
    return True
