"""The exact contribution of every descriptor to a linear score of an improved Fisher vector.

With raw r = (1/n) Σ_i φ(x_i), the improved vector is f_j = α_j r_j, α_j = 1/(√|r_j| ‖√|r|‖). A score a + g·f is then
a + (1/n) Σ_i q_i with q_i = Σ_k γ_ik Σ_d (A_kd t_ikd + B_kd (t_ikd² − 1)), A = g α/√w, B = g α/√(2w): the sum over
locations is exact although the normalisation is not linear, because α is that of the slice itself.
"""

from __future__ import annotations

import numpy as np

from ildfv.arrays import to_numpy
from ildfv.errors import check
from ildfv.estimators.fisher import FisherVector
from ildfv.kernels import cpu
from ildfv.kernels.reference import MIN_NORM, MIN_WEIGHT


def contributions(fisher: FisherVector, coefficients: np.ndarray, maps, weights=None) -> np.ndarray:
    """Contributions of descriptors to C scores.

    Parameters
    ----------
    fisher : FisherVector
        Fitted, order "component", without the weight part.
    coefficients : ndarray of shape (C, 2·k·d)
        g of each score.
    maps : array of shape (b, n, d) or (b, d, h, w)
    weights : array of shape (b, n), optional
        How much each descriptor counts, as in `FisherVector.transform`.

    Returns
    -------
    ndarray of shape (b, n, C), float64
        Summed over n, the score minus its offset.
    """
    check(
        fisher.order == "component" and not fisher.weight_part, 'fisher must have order="component" and no weight part'
    )
    usual = fisher.power == 0.5 and not fisher.intra
    check(usual, "fisher must have power 0.5 and no intra-normalisation for contributions that add up to the score")
    mixture = fisher.mixture_ if hasattr(fisher, "mixture_") else fisher.mixture
    assert mixture is not None  # as `fisher` is fitted
    k, d = mixture.means_.shape
    expected = (len(coefficients), 2 * k * d)
    check(coefficients.shape == expected, f"coefficients must have shape {expected}, got {coefficients.shape}")
    maps = to_numpy(maps).astype(np.float64)  # float32 sums of small moments would lose the digits that α multiplies
    parameters = (mixture.weights_, mixture.means_, mixture.variances_)
    m = cpu.moments(maps, *parameters, threshold=fisher.threshold, descriptor_weights=weights)
    totals = np.full(len(maps), float(maps.size // len(maps) // d)) if weights is None else np.asarray(weights).sum(1)
    n = np.where(totals > 0, totals, 1.0)[:, None, None, None]
    used = mixture.weights_ >= MIN_WEIGHT
    root = np.where(used, 1 / np.sqrt(np.where(used, mixture.weights_, 1.0)), 0.0)[:, None, None]  # (k, 1, 1)
    scale = np.concatenate([root, root / np.sqrt(2)], axis=1)  # (k, 2, 1): of u and of v
    raw = np.stack([m.s1, m.s2 - m.s0[..., None]], axis=2) * scale / n  # (b, k, 2, d)
    alpha = _alpha(raw) if fisher.improved else np.ones_like(raw)
    g = coefficients.reshape(1, -1, k, 2, d)
    functional = g * (alpha * scale / n)[:, None]  # (b, C, k, 2, d)
    first, second = (np.ascontiguousarray(functional[:, :, :, i]) for i in (0, 1))
    found = cpu.contributions(maps, *parameters, first, second, threshold=fisher.threshold, descriptor_weights=weights)
    return np.stack(found)


def _alpha(raw: np.ndarray) -> np.ndarray:
    """The factor by which power and L2 normalisation multiply each raw value, 0 where that is 0, (b, k, 2, d)."""
    root = np.sqrt(np.abs(raw))
    norms = np.sqrt(np.abs(raw).sum(axis=(1, 2, 3), keepdims=True))  # of √|r|
    return np.divide(1.0, root, out=np.zeros_like(root), where=root > 0) / np.maximum(norms, MIN_NORM)
