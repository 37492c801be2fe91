"""Covariance of regression coefficients from the observed information: minus the Hessian of the log likelihood."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.linalg import pinvh

from ildfv.estimators.design import Design


def coefficient_covariances(
    groups: list, design: Design, coefficients: np.ndarray, covariance: np.ndarray, *, complete: bool
) -> Iterator[np.ndarray]:
    """The covariance (p + 1, p + 1) of each output's coefficients.

    With complete labels the coefficients B and the residual covariance Σ are uncorrelated, and the information of B
    alone suffices. With missing labels they are correlated: the information of B for an unknown Σ is the Schur
    complement I_BB − I_BΣ I_ΣΣ⁻¹ I_ΣB of the observed information. It has (p + 1)·c rows, so its inversion takes
    O((p·c)³).

    Parameters
    ----------
    groups : list of (observed outputs, products)
        As from `RegressionSums.observed`.
    design : Design
    coefficients : ndarray of shape (p + 1, c)
    covariance : ndarray of shape (c, c)
        Of the residuals.
    complete : bool
        Whether all labels are observed.
    """
    q, c = len(design.products), len(covariance)
    if complete:
        unit = design.inverse @ design.products @ design.inverse
        yield from (variance * unit for variance in np.diag(covariance))
        return
    penalty = design.ridge * np.diag(np.append(0.0, np.ones(q - 1)))
    information, prior = _observed_information(groups, coefficients, covariance), np.kron(pinvh(covariance), penalty)
    scale = np.tile(np.append(np.sqrt(design.products[0, 0]), design.scale), c)
    scale = scale * np.repeat(1 / np.sqrt(np.maximum(np.diag(covariance), np.finfo(float).tiny)), q)
    inverse = pinvh((information + prior) / scale[:, None] / scale) / scale[:, None] / scale
    spread = inverse @ information @ inverse
    yield from (spread[j * q : (j + 1) * q, j * q : (j + 1) * q] for j in range(c))


def _observed_information(groups: list, coefficients: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """The information (c·q, c·q) of the coefficients, output by output, for an unknown residual covariance.

    With K = Σ⁻¹ of the observed outputs (0 elsewhere), residual products R and G = Σ x·residualᵀ, and for a symmetric
    change D of Σ:

        I_BB = K ⊗ X'X    I_BΣ·D = G K D K    D·I_ΣΣ·D = tr(D K D K R K) − n/2 tr(D K D K)
    """
    q, c = coefficients.shape
    changes = _symmetric_changes(covariance)  # (c², pairs)
    own, cross, other = np.zeros((c * q, c * q)), np.zeros((c * q, c * c)), np.zeros((c * c, c * c))
    for outputs, products in groups:
        precision = np.zeros((c, c))
        precision[np.ix_(outputs, outputs)] = pinvh(covariance[np.ix_(outputs, outputs)])
        residual = np.vstack([-coefficients, np.eye(c)])  # (1, x, y) · residual = y − expectation
        weighted = products[:q] @ residual @ precision  # (q, c)
        squares = precision @ (residual.T @ products @ residual) @ precision  # (c, c)
        own += np.kron(precision, products[:q, :q])
        cross += np.kron(precision, weighted)
        other += np.kron(squares, precision) - products[0, 0] / 2 * np.kron(precision, precision)
    cross, other = cross @ changes, changes.T @ other @ changes
    return own - cross @ pinvh((other + other.T) / 2) @ cross.T


def _symmetric_changes(covariance: np.ndarray) -> np.ndarray:
    """One column vec(D) for each element of Σ, in units of its standard deviations, without constant outputs."""
    sd = np.sqrt(np.diag(covariance))
    columns = []
    for i, j in zip(*np.triu_indices(len(sd)), strict=True):
        if sd[i] > 0 and sd[j] > 0:
            change = np.zeros_like(covariance)
            change[i, j] = change[j, i] = sd[i] * sd[j]
            columns.append(change.reshape(-1))
    return np.array(columns).reshape(len(columns), covariance.size).T
