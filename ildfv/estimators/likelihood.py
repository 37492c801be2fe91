"""Log likelihood and posteriors of single descriptors, in array API code for NumPy, CuPy and torch."""

from __future__ import annotations

import numpy as np

from ildfv.arrays import check_finite, like, namespace, to_float64
from ildfv.estimators.batches import Batches

ROWS = 4096  # descriptors per block: (rows, d) in float64 stays in cache


def likelihoods_and_posteriors(batches: Batches, mixture) -> tuple:
    """Log likelihood in nats (n,) and posteriors (n, k) of descriptors (n, d), float64, in their array library."""
    parts = []
    for name, rows in batches.chunks(ROWS):
        xp = namespace(rows)
        with np.errstate(over="ignore"):
            log_joints = log_joint(to_float64(rows), mixture)  # (m, k)
        top = xp.max(log_joints, axis=1, keepdims=True)
        check_finite(top, f"log likelihoods of {name}")
        log_likelihood = top + xp.log(xp.sum(xp.exp(log_joints - top), axis=1, keepdims=True))  # (m, 1)
        parts.append((log_likelihood[:, 0], xp.exp(log_joints - log_likelihood)))
    xp = namespace(parts[0][0])
    return tuple(xp.concat(column, axis=0) for column in zip(*parts, strict=True))


def log_joint(x, mixture):
    """log w_k + log N(x | mean_k, variance_k), shape (m, k), for float64 rows x (m, d)."""
    xp = namespace(x)
    with np.errstate(divide="ignore"):  # log(0) = −inf is the intended value for a component of weight 0
        weights = np.log(mixture.weights_)
    constants = weights - 0.5 * np.log(2 * np.pi * mixture.variances_).sum(axis=1)  # (k,)
    means, scales = like(mixture.means_, x), like(1 / np.sqrt(mixture.variances_), x)  # (k, d)
    log_joints = []
    for k, constant in enumerate(constants):  # t² is not expanded: large numbers would be subtracted from each other
        t = (x - means[k, :]) * scales[k, :]
        log_joints.append(float(constant) - 0.5 * xp.sum(t * t, axis=1))
    return xp.stack(log_joints, axis=1)
