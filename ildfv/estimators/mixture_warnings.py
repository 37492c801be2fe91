"""Warnings after the fit of a mixture."""

from __future__ import annotations

import warnings

import numpy as np

from ildfv.counted import counted
from ildfv.estimators.em import Parameters

# If the mean log likelihood decreases by more than these limits, in nats, the descriptors were not in random order. The
# likelihood of the start is computed from its sample. At k = 32 and d = 64, it is about 0.1 nats higher than for all
# descriptors.
FALL_BETWEEN_PASSES = 0.01  # from one pass to the next
FALL_FROM_START = 0.05  # per dimension, from the start to the first pass
FALL = "the mean log likelihood decreased during stepwise EM"  # start of the warning
LEVEL = 4  # stack level of the caller of `fit`, which has a decorator


def warn_about_convergence(mixture, start_log_likelihood: float) -> None:
    """Issues a ConvergenceWarning if the likelihood decreased during stepwise EM, or if EM has not converged.

    The few stepwise passes that "auto" chooses for large data need not converge.
    """
    few = mixture.method == "auto" and mixture.method_ == "stepwise"
    if mixture.method_ == "stepwise" and mixture.n_steps_ > 0 and fell(mixture, start_log_likelihood):
        message = f'{FALL}, as it does if batches are sorted by kind: shuffle them, or use method="exact"'
        warnings.warn(message, mixture._convergence_warning, stacklevel=LEVEL)
    elif not mixture.converged_ and mixture.max_iter > 0 and mixture.n_iter_ >= mixture.max_iter and not few:
        message = (
            f"EM has not converged to tol = {mixture.tol} after {counted(mixture.max_iter, 'pass', 'passes')}: "
            "increase max_iter or tol"
        )
        warnings.warn(message, mixture._convergence_warning, stacklevel=LEVEL)


def fell(mixture, start_log_likelihood: float) -> bool:
    """Whether stepwise passes decreased the likelihood: the descriptors of a step are not a sample of all of them."""
    likelihoods = mixture.log_likelihoods_
    between = np.diff(likelihoods) < -max(mixture.tol, FALL_BETWEEN_PASSES)
    first = likelihoods[0] < start_log_likelihood - FALL_FROM_START * len(mixture.floors_)
    return bool(between.any() or first)


def warn_about_constants(mixture) -> None:
    """Issues a UserWarning if dimensions have no variance above the smallest one."""
    overall = Parameters(mixture.weights_, mixture.means_, mixture.variances_).overall()[1]
    constant = np.flatnonzero(overall <= mixture.floors_ * (1 + 1e-6))
    if mixture.max_iter > 0 and len(constant):
        relative = " (relative to the variance of means_init)" if mixture.means_init is not None else ""
        message = (
            f"descriptors have no variance above variance_floor{relative} in {len(constant)} of {len(overall)} "
            f"dimensions (the first is {constant[0]}): variance_floor is used there"
        )
        warnings.warn(message, stacklevel=LEVEL)
