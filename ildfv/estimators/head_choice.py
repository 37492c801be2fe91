"""A linear head on several blocks of features. For each output, cross-validation over groups selects the blocks.

A candidate is a scale for each feature. Features of scale 0 are excluded; with a penalty on the squared coefficients, a
larger scale penalises a feature less. The result is one linear head on the features themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ildfv.errors import check
from ildfv.estimators.bags import Bags
from ildfv.estimators.heads import Head, fit_head, held_out_error

GAIN = 0.06  # required reduction of the error, as a fraction; without it, worse inputs were selected on phantoms


@dataclass(frozen=True)
class Choice:
    """A head, and the name of the candidate that was chosen for each output, (c,)."""

    head: Head
    names: tuple[str, ...]


def fit_chosen_head(
    kind: str,
    x: np.ndarray,
    y: np.ndarray,
    groups: np.ndarray,
    *,
    candidates: Mapping[str, np.ndarray],
    gain: float = GAIN,
    seed: int = 0,
    bags: Bags | None = None,
) -> Choice:
    """A head that uses, for each output, the candidate and the penalty with the lowest error on held-out groups.

    If this error is not lower than the error of the first candidate by at least the fraction `gain`, the first
    candidate is used.

    Parameters
    ----------
    kind, x, y, groups, seed, bags
        As for `fit_head`.
    candidates : mapping of str to ndarray of shape (p,)
        Scales of the features, at least 0. The first candidate is the default.
    gain : float
        In [0, 1). Held-out errors are noisy estimates, so the lowest of several errors underestimates the true error.

    Raises
    ------
    InputError
        As for `fit_head`, or there is no candidate.
    """
    check(len(candidates) > 0, "candidates must contain at least one candidate, got none")
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    heads = {name: fit_head(kind, x * scale, y, groups, seed=seed, bags=bags) for name, scale in candidates.items()}
    names = list(heads)
    chosen = []
    for c, column in enumerate(y.T):
        known = np.isfinite(column)
        if len(np.unique(column[known])) < 2:  # the score is constant, whichever features are used
            chosen.append(names[0])
            continue
        errors = [
            held_out_error(kind, column[known], heads[name].held_out[known, c], bags and bags.pick(known))
            for name in names
        ]
        best = int(np.argmin(errors))
        chosen.append(names[best] if errors[best] <= (1 - gain) * errors[0] else names[0])
    picked = [(heads[name], candidates[name], c) for c, name in enumerate(chosen)]
    head = Head(
        coef=np.stack([head.coef[c] * scale for head, scale, c in picked]),
        intercept=np.array([head.intercept[c] for head, _, c in picked]),
        penalties=np.array([head.penalties[c] for head, _, c in picked]),
        held_out=np.stack([head.held_out[:, c] for head, _, c in picked], axis=1),
    )
    return Choice(head, tuple(chosen))
