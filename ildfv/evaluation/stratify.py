"""Partitions of patients into parts of given sizes that balance quantities such as slices per pattern."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

PASSES = 50  # maximum number of passes of exchanges; cohorts of 20 to 700 patients converge in fewer than ten
STARTS = 16  # random starts
WORK = 2000  # maximum of starts × patients: one start is enough for large cohorts


def partition(
    amounts: np.ndarray,
    sizes: Sequence[int],
    *,
    weights: Sequence[float] | None = None,
    seed: int | Sequence[int] = 0,
) -> np.ndarray:
    """The index of the part to which each patient is assigned, int, (P,). Part f has exactly `sizes[f]` patients.

    amounts (P, Q): amount of each quantity that each patient has. weights (Q,): importance of each quantity. The
    partition is a local minimum of Σ_f Σ_q weight_q · (share of q in part f − sizes[f]/P)². From several random starts,
    patients are assigned greedily, and then pairs of patients are exchanged until no exchange lowers the sum; the
    result of the best start is returned. Patients with the rarest quantities are assigned first, as in iterative
    stratification (Sechidis, Tsoumakas, Vlahavas 2011). Unlike that method, this function balances slices and patients
    at the same time, and the sizes are exact. Equal inputs and seeds give equal partitions.
    """
    amounts = np.asarray(amounts, dtype=float)
    total = amounts.sum(0)
    there = total > 0
    scale = np.sqrt(np.ones(len(total)) if weights is None else np.asarray(weights, dtype=float))[there]
    x = amounts[:, there] / total[there] * scale  # (P, Q): each patient's weighted share of the total of each quantity
    room = np.array(sizes)  # (F,)
    target = (room / room.sum())[:, None] * scale  # (F, Q)

    rng = np.random.default_rng(seed)
    starts = max(1, min(STARTS, WORK // max(len(x), 1)))
    found = [_partition_once(x, room.copy(), target, rng) for _ in range(starts)]
    return min(found, key=lambda result: result[0])[1]


def _partition_once(
    x: np.ndarray, room: np.ndarray, target: np.ndarray, rng: np.random.Generator
) -> tuple[float, np.ndarray]:
    """(cost, part of each patient) from one random start. `room`, the free places of each part, is decremented to 0."""
    rarity = x.max(1, initial=0.0)  # the largest share of any quantity that the patient has
    order = rng.permutation(len(x))
    order = order[np.argsort(-rarity[order], kind="stable")]

    part = np.full(len(x), -1)
    excess = -target  # (F, Q): assigned share − target share
    for patient in order:
        # Adding x to a part changes its cost by Σ_q (e + x)² − e² = Σ_q x·(2e + x); x² is equal for all parts.
        cost = excess @ x[patient] + 1e-9 * rng.random(len(room))  # the noise breaks ties
        best = int(np.argmin(np.where(room > 0, cost, np.inf)))
        part[patient] = best
        excess[best] += x[patient]
        room[best] -= 1

    for _ in range(PASSES):
        if not any([_exchange(patient, x, part, excess) for patient in order]):
            break
    return float((excess**2).sum()), part


def _exchange(i: int, x: np.ndarray, part: np.ndarray, excess: np.ndarray) -> bool:
    """Exchanges patient i with the patient of another part that lowers the cost most. False: no exchange lowers it."""
    a = part[i]
    # (P, Q). If i and p are exchanged, the shares of part a change by step[p], and those of p's part by −step[p].
    step = x - x[i]
    gain = 2 * np.einsum("pq,pq->p", step, step) + 2 * np.einsum("pq,pq->p", step, excess[a] - excess[part])
    gain[part == a] = np.inf
    j = int(np.argmin(gain))
    if gain[j] > -1e-12:
        return False
    excess[a] += step[j]
    excess[part[j]] -= step[j]
    part[i], part[j] = part[j], part[i]
    return True
