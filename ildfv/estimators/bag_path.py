"""Logistic regression of labels of bags (`bags`) of one output, for all candidate penalties together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from ildfv.estimators.bags import MAX, Bags, noisy_or_loss, shared_score, soft_max_loss
from ildfv.estimators.penalised import descent_path

# The loss of the maximum is approximated by losses of smooth maxima, because a fit to the maximum itself stops where it
# is not differentiable. In the last step, the smooth maximum of 100 slices is at most 0.3 above the maximum.
SHARPNESS = (1.0, 4.0, 16.0)


def bag_path(x: np.ndarray, y: np.ndarray, bags: Bags, penalties: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Weights (m, p) and intercepts (m,) that minimise the mean logistic loss of the bags + penalty/2·‖w‖².

    The loss is not convex. The fit with the largest penalty starts from weights of 0, where every row has the same
    score. Each further fit starts from the previous one. Equal input gives equal weights.

    Parameters
    ----------
    x : ndarray of shape (n, p)
        Features of the rows.
    y : ndarray of shape (n,)
        Label of the bag of each row, 0 or 1, both present.
    bags : Bags
    penalties : sequence of float
        Above 0, ascending.
    """
    starts = bags.starts
    y = y[starts]  # (bags,)
    share = (y.sum() + 1) / (len(y) + 2)
    intercept = shared_score(bags.pooling, np.log(share / (1 - share)), len(x) / len(y))
    of_scores: list[Callable] = [noisy_or_loss]
    if bags.pooling == MAX:
        of_scores = [partial(soft_max_loss, sharpness=sharpness) for sharpness in SHARPNESS]
    return descent_path(x, [partial(loss, starts=starts, y=y) for loss in of_scores], penalties, intercept)
