"""The paper's losses by name, eqs. (1), (2), (3), (5), (6): one value per slice, summed over patterns.

f (b, c): the network's outputs; y (b, c): the targets; beta (c,): weights of the patterns, None for equal weights.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from ildfv.errors import check


def logistic(f: Tensor, y: Tensor, beta: Tensor | None = None) -> Tensor:
    """Σ_k β_k log(1 + exp(−y_k f_k)), shape (b,), y ∈ {−1, 1}: eq. (1), with β eq. (5)."""
    return _weighted(F.softplus(-y * f), beta)


def l2(f: Tensor, y: Tensor, beta: Tensor | None = None) -> Tensor:
    """Σ_k β_k (y_k − f_k)², shape (b,): eq. (2), with β eq. (6)."""
    return _weighted((y - f).square(), beta)


def smooth_l1(f: Tensor, y: Tensor, beta: Tensor | None = None) -> Tensor:
    """Σ_k β_k L(y_k − f_k), shape (b,), L(x) = x²/2 where |x| < 1, else |x| − ½: eqs. (2), (3), with β eq. (6)."""
    return _weighted(F.smooth_l1_loss(f, y, reduction="none"), beta)


def _weighted(terms: Tensor, beta: Tensor | None) -> Tensor:
    return terms.sum(dim=1) if beta is None else terms @ beta  # (b, c) → (b,)


LOSSES = {"logistic": logistic, "l2": l2, "smooth-l1": smooth_l1}
DEGREES = {"logistic": 1, "l2": 2, "smooth-l1": 1}  # for large errors, the loss grows with this power of the error
BALANCED = "balanced-"  # prefix of losses whose patterns are weighted by `pattern_weights`
NAMES = (*LOSSES, *(BALANCED + name for name in LOSSES))


def pattern_weights(present: np.ndarray) -> np.ndarray:
    """β_k = (1 − |Y_k|/|Y|)/C, shape (c,), |Y_k| = number of slices with pattern k, |Y| = Σ |Y_k|: eqs. (5), (6).

    present (m, c): presence of the patterns in the training slices only, 1 (present), 0 (absent) or −1 (unknown).
    """
    positives = np.count_nonzero(np.asarray(present) > 0, axis=0)  # (c,)
    seen = int(np.count_nonzero(positives))
    # If there is a single pattern, |Y_k| = |Y|, so its weight would be 0 and nothing would be learned.
    check(seen > 1, f"a balanced loss needs at least two patterns in the training slices, got {seen}")
    return (1 - positives / positives.sum()) / len(positives)
