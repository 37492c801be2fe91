"""Stepwise EM: parameters that move after every thousand descriptors or so, for few passes (Cappé & Moulines 2009)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from ildfv.errors import check
from ildfv.estimators.base import State
from ildfv.estimators.batches import Batches
from ildfv.estimators.em import MixtureSums, Parameters

# Of steps of 16 to 512 descriptors a component and decays of 0.52 to 0.8, these came highest after 3 passes, above full
# EM from the same start (bench_em.py). Decays between 0.5 and 1 converge: step t moves by (t + 2)^-decay.
STEP_ROWS = 32  # descriptors a component in a step, half of it at least
STEP_DECAY = 0.6
STARTS = 8  # k-means starts end in mixtures 1 to 2 % apart in log likelihood: more than few passes win back
TRIAL_PASSES = 20  # from each start; the best goes on
SAMPLE_PASSES = 100  # at most

Gather = Callable[[list[State]], list[list[State]]]  # the lists of all ranks, as ildfv.distributed.gather gives them


def em_on_sample(starts: Iterable[Parameters], sample: np.ndarray, *, floors: np.ndarray, tol: float) -> Parameters:
    """The likeliest mixture that EM finds from these starts on a sample (n, d) alone.

    floors: the smallest variances (d,), of the starts as well. Passes over all descriptors are few and dear, the sample
    is at hand. Of equal mixtures the first is taken.
    """
    floored = (Parameters(at.weights_, at.means_, np.maximum(at.variances_, floors)) for at in starts)
    trials = [_em(at, sample, floors=floors, tol=tol, passes=TRIAL_PASSES) for at in floored]
    best, _ = max(trials, key=lambda trial: trial[1])
    return _em(best, sample, floors=floors, tol=tol, passes=SAMPLE_PASSES)[0]


def _em(at: Parameters, sample: np.ndarray, *, floors: np.ndarray, tol: float, passes: int) -> tuple[Parameters, float]:
    """The mixture when a pass gains less than `tol`, or after `passes`; the mean log likelihood before the last."""
    mean = -np.inf
    for _ in range(passes):
        sums = MixtureSums(at).update(sample, name="sample")
        before, mean = mean, sums.mean_log_likelihood
        at = sums.finish(floor=floors)
        if mean - before < tol:
            break
    return at, mean


def stepwise_pass(
    at: Parameters, batches: Batches, *, floors: np.ndarray, n_steps: int, gather: Gather | None = None
) -> tuple[Parameters, int, float]:
    """Parameters, number of steps made in all, and mean log likelihood on the way, after one pass from `at`.

    gather: the items of all ranks. Every item of the stream is then a step: each rank has some of its batches or none.
    """
    total, n = 0.0, 0.0
    rows = STEP_ROWS * len(at.weights_)
    sums = MixtureSums(at)

    def step() -> MixtureSums:
        nonlocal at, n_steps, total, n
        total, n = total + float(sums.log_likelihood), n + float(sums.count)
        share = (n_steps + 2) ** -STEP_DECAY
        at = sums.finish(floor=floors, inertia=float(sums.count) * (1 - share) / share)
        n_steps += 1
        return MixtureSums(at)

    for name, batch in batches.steps(rows) if gather is None else batches.shared():
        if gather is None:
            sums.update(batch, name=name)
        else:
            sums.load(_dealt(at, batch, name, gather))
        if gather is not None or sums.count >= rows / 2:
            sums = step()
    if sums.count > 0:
        step()
    check(n > 0, f"{batches.name} must hold at least one batch, got none")
    return at, n_steps, total / n


def _dealt(at: Parameters, share: list, name: str, gather: Gather) -> State:
    """The sums of a step over the maps of all ranks; `share` holds the batches of this one.

    Each batch's are taken alone and added in the order of ranks and batches. Where ranks are dealt neighbouring ones,
    that is one order for any number of ranks, and the bits are the same: later steps would make more of a last one.
    """
    mine = [MixtureSums(at).update(batch, name=name).state() for batch in share]
    total = MixtureSums(at).state()
    for state in (state for theirs in gather(mine) for state in theirs):
        total = {key: value + state[key] for key, value in total.items()}
    return total
