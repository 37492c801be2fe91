"""Stepwise EM: an update of the parameters about every 32·k descriptors (Cappé & Moulines 2009)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ildfv.estimators.base import State
from ildfv.estimators.batches import Batches
from ildfv.estimators.em import MixtureSums, Parameters

# Among steps of 16 to 512 descriptors per component and decays of 0.52 to 0.8, these values gave the highest likelihood
# after 3 passes, which was higher than that of exact EM from the same start (bench_em.py). Step t has the weight
# (t + 2)^-decay; stepwise EM converges for decays between 0.5 and 1.
STEP_ROWS = 32  # descriptors per component in a step
STEP_DECAY = 0.6

Gather = Callable[[list[State]], list[list[State]]]  # the lists of all ranks, as ildfv.distributed.gather returns them


def stepwise_pass(
    parameters: Parameters, batches: Batches, *, floors: np.ndarray, n_steps: int, gather: Gather | None = None
) -> tuple[Parameters, int, float]:
    """One pass of stepwise EM.

    Parameters
    ----------
    parameters : Parameters
        Mixture at the beginning of the pass.
    batches : Batches
    floors : ndarray of shape (d,)
        Smallest variance of each dimension.
    n_steps : int
        Number of steps in earlier passes.
    gather : callable, optional
        Returns the items of all ranks. Each item of the stream is then one step, of which a rank may hold any number of
        batches.

    Returns
    -------
    parameters : Parameters
    n_steps : int
        Number of steps in all passes.
    mean_log_likelihood : float
        Nats per descriptor, each at the parameters before its step; NaN if no descriptor has a positive weight.
    """
    total, n = 0.0, 0.0
    rows = STEP_ROWS * len(parameters.weights_)
    sums = MixtureSums(parameters)

    def step() -> MixtureSums:
        nonlocal parameters, n_steps, total, n
        total, n = total + float(sums.log_likelihood), n + float(sums.count)
        share = (n_steps + 2) ** -STEP_DECAY
        # A step of fewer descriptors than usual, as at the end of a pass, has a proportionally smaller weight.
        parameters = sums.finish(floor=floors, inertia=max(float(sums.count), rows) * (1 - share) / share)
        n_steps += 1
        return MixtureSums(parameters)

    for name, batch in batches.interleaved(rows) if gather is None else batches.across_ranks():
        if gather is None:
            sums.update(batch, name=name)
        else:
            sums.load(_sums_of_all_ranks(parameters, batch, name, gather))
        # A step without descriptors of positive weight changes nothing.
        if sums.count > 0 and (gather is not None or sums.count >= rows / 2):
            sums = step()
    if sums.count > 0:
        step()
    if n == 0:
        batches.width()  # raises if there was no batch
        return parameters, n_steps, np.nan
    return parameters, n_steps, total / n


def _sums_of_all_ranks(parameters: Parameters, share: list, name: str, gather: Gather) -> State:
    """The sums of one step over the batches of all ranks; `share` holds those of this rank.

    Each batch is summed separately, and the sums are added in the order of ranks and batches. If each rank holds
    consecutive batches, this order does not depend on the number of ranks, and the result is bitwise the same.
    Otherwise later steps would amplify differences in the last bit.
    """
    mine = [MixtureSums(parameters).update(batch, name=name).state() for batch in share]
    total = MixtureSums(parameters).state()
    for state in (state for states in gather(mine) for state in states):
        total = {key: value + state[key] for key, value in total.items()}
    return total
