"""Logistic regression of labels of bags (`bags`) of one output, for all candidate penalties together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from scipy.optimize import minimize

from ildfv.estimators.bags import MAX, Bags, noisy_or_loss, shared_score, soft_max_loss

MAX_ITER = 1000
TOLERANCE = 1e-6  # for the gradient of the mean loss
# The maximum is approached by smooth maxima, since a fit to the maximum itself stops at its first kink. In the last
# step, the smooth maximum of 100 slices is at most 0.3 above the maximum.
SHARPNESS = (1.0, 4.0, 16.0)

Loss = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[float, np.ndarray]]


def bag_path(x: np.ndarray, y: np.ndarray, bags: Bags, penalties: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Weights (m, p) and intercepts (m,) that minimise the mean logistic loss of the bags + penalty/2·‖w‖².

    The loss is not convex. The fit with the largest penalty starts from weights of 0, where every row has the same
    score, and each further fit from the previous one; equal input gives equal weights.

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
    n, p = x.shape
    starts = bags.starts
    y = y[starts]  # (bags,)
    basis = np.linalg.qr(x.T)[0] if n < p else np.eye(p)  # (p, r): weights are in the span of the rows
    z = x @ basis if n < p else x  # (n, r)
    share = (y.sum() + 1) / (len(y) + 2)
    found = np.append(np.zeros(z.shape[1]), shared_score(bags.pooling, np.log(share / (1 - share)), n / len(y)))
    smooth: list[Loss] = [noisy_or_loss]
    if bags.pooling == MAX:
        smooth = [partial(soft_max_loss, sharpness=sharpness) for sharpness in SHARPNESS]
    results: list[np.ndarray] = []
    for penalty in reversed(penalties):
        for loss in smooth if not results else smooth[-1:]:
            found = _minimised(loss, z, starts, y, penalty, found)
        results.append(found)
    every = np.stack(results[::-1])  # (m, r + 1)
    return every[:, :-1] @ basis.T, every[:, -1]


def _minimised(
    loss: Loss, z: np.ndarray, starts: np.ndarray, y: np.ndarray, penalty: float, start: np.ndarray
) -> np.ndarray:
    """The weights (r,) and the intercept, as one array (r + 1,), at a minimum of the penalised loss."""

    def penalised(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        w, b = parameters[:-1], parameters[-1]
        value, slope = loss(z @ w + b, starts, y)
        return value + penalty / 2 * (w @ w), np.append(slope @ z + penalty * w, slope.sum())

    options = {"maxiter": MAX_ITER, "gtol": TOLERANCE, "ftol": 0.0}
    return minimize(penalised, start, method="L-BFGS-B", jac=True, options=options).x
