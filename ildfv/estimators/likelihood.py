"""How likely each descriptor is, and under which component: written once for NumPy, CuPy and torch."""

from __future__ import annotations

import numpy as np

from ildfv.arrays import check_finite, like, namespace, to_float64
from ildfv.estimators.batches import Batches

ROWS = 4096  # descriptors at once: (rows, d) in float64 stays in cache


def likelihoods_and_posteriors(batches: Batches, mixture) -> tuple:
    """Log likelihoods (n,), nats, and posteriors (n, k) of rows (n, d), float64, the kind of array the rows are."""
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
    """log w_k + log N(x | mean_k, variance_k), (m, k), of rows x (m, d) in float64."""
    xp = namespace(x)
    with np.errstate(divide="ignore"):  # a weight of 0 is a log of −inf, as it should be
        weights = np.log(mixture.weights_)
    constants = weights - 0.5 * np.log(2 * np.pi * mixture.variances_).sum(axis=1)  # (k,)
    means, scales = like(mixture.means_, x), like(1 / np.sqrt(mixture.variances_), x)  # (k, d)
    log_joints = []
    for k, constant in enumerate(constants):  # one at a time: t² directly, never a difference of large sums
        t = (x - means[k, :]) * scales[k, :]
        log_joints.append(float(constant) - 0.5 * xp.sum(t * t, axis=1))
    return xp.stack(log_joints, axis=1)
