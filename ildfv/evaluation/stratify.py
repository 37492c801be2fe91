"""Deal patients into parts of given sizes so that every part has its share of everything."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

PASSES = 50  # exchange passes; cohorts of 20 to 700 patients settle in under ten


def deal(amounts: np.ndarray, sizes: Sequence[int], *, seed: int | Sequence[int] = 0) -> np.ndarray:
    """Part of each patient, shape (P,), int: part f gets exactly `sizes[f]` patients.

    amounts (P, Q): how much of each quantity a patient brings. Minimised, greedily and then by exchanges of two
    patients until none helps, is Σ_f Σ_q (share of q in part f − sizes[f]/P)². Patients with the rarest quantities are
    dealt first, as in iterative stratification (Sechidis, Tsoumakas, Vlahavas 2011); unlike that method it balances
    slices and patients at once and keeps the sizes. Equal input and seed give equal parts.
    """
    amounts = np.asarray(amounts, dtype=float)
    total = amounts.sum(0)
    x = amounts[:, total > 0] / total[total > 0]  # (P, Q): shares of a whole
    room = np.array(sizes)  # (F,): patients a part still takes
    target = (room / room.sum())[:, None]  # (F, 1)

    rng = np.random.default_rng(seed)
    rarity = x.max(1, initial=0.0)  # the largest share this patient holds of anything
    order = rng.permutation(len(x))
    order = order[np.argsort(-rarity[order], kind="stable")]

    part = np.full(len(x), -1)
    excess = np.zeros((len(sizes), x.shape[1])) - target  # (F, Q): share dealt so far − share wanted
    for patient in order:
        # Adding x to a part changes its cost by Σ_q (e + x)² − e² = Σ_q x·(2e + x); x² is the same for all parts.
        cost = excess @ x[patient] + 1e-9 * rng.random(len(sizes))  # noise breaks ties between equally empty parts
        best = int(np.argmin(np.where(room > 0, cost, np.inf)))
        part[patient] = best
        excess[best] += x[patient]
        room[best] -= 1

    for _ in range(PASSES):
        if not any([_exchange(patient, x, part, excess) for patient in order]):
            break
    return part


def _exchange(i: int, x: np.ndarray, part: np.ndarray, excess: np.ndarray) -> bool:
    """Swap patient i with the patient of another part that lowers the cost most; False where none does."""
    a = part[i]
    step = x - x[i]  # (P, Q): what part a gains, and the other part loses, if i goes and j comes
    gain = 2 * np.einsum("pq,pq->p", step, step) + 2 * np.einsum("pq,pq->p", step, excess[a] - excess[part])
    gain[part == a] = np.inf
    j = int(np.argmin(gain))
    if gain[j] > -1e-12:
        return False
    excess[a] += step[j]
    excess[part[j]] -= step[j]
    part[i], part[j] = part[j], part[i]
    return True
