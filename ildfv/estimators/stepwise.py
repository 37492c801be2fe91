"""Stepwise EM: parameters that move after every thousand descriptors or so, for few passes (Cappé & Moulines 2009)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ildfv.errors import check
from ildfv.estimators.base import State
from ildfv.estimators.batches import Batches
from ildfv.estimators.em import MixtureSums, Parameters

# Of steps of 16 to 512 descriptors a component and decays of 0.52 to 0.8, these came highest after 3 passes, above full
# EM from the same start (bench_em.py). Decays between 0.5 and 1 converge: step t moves by (t + 2)^-decay.
STEP_ROWS = 32  # descriptors a component in a step, half of it at least
STEP_DECAY = 0.6

Gather = Callable[[list[State]], list[list[State]]]  # the lists of all ranks, as ildfv.distributed.gather gives them


def stepwise_pass(
    parameters: Parameters, batches: Batches, *, floors: np.ndarray, n_steps: int, gather: Gather | None = None
) -> tuple[Parameters, int, float]:
    """Parameters, number of steps made in all, and mean log likelihood on the way, after one pass from `at`.

    gather: the items of all ranks. Every item of the stream is then a step: each rank has some of its batches or none.
    """
    total, n = 0.0, 0.0
    rows = STEP_ROWS * len(parameters.weights_)
    sums = MixtureSums(parameters)

    def step() -> MixtureSums:
        nonlocal parameters, n_steps, total, n
        total, n = total + float(sums.log_likelihood), n + float(sums.count)
        share = (n_steps + 2) ** -STEP_DECAY
        parameters = sums.finish(floor=floors, inertia=float(sums.count) * (1 - share) / share)
        n_steps += 1
        return MixtureSums(parameters)

    for name, batch in batches.chunks(rows) if gather is None else batches.across_ranks():
        if gather is None:
            sums.update(batch, name=name)
        else:
            sums.load(_dealt(parameters, batch, name, gather))
        if gather is not None or sums.count >= rows / 2:
            sums = step()
    if sums.count > 0:
        step()
    check(n > 0, f"{batches.name} must hold at least one batch, got none")
    return parameters, n_steps, total / n


def _dealt(parameters: Parameters, share: list, name: str, gather: Gather) -> State:
    """The sums of a step over the maps of all ranks; `share` holds the batches of this one.

    Each batch's are taken alone and added in the order of ranks and batches. Where ranks are dealt neighbouring ones,
    that is one order for any number of ranks, and the bits are the same: later steps would make more of a last one.
    """
    mine = [MixtureSums(parameters).update(batch, name=name).state() for batch in share]
    total = MixtureSums(parameters).state()
    for state in (state for theirs in gather(mine) for state in theirs):
        total = {key: value + state[key] for key, value in total.items()}
    return total
