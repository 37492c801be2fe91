"""Exact gradients of a loss through the moments of a mixture, given its gradients with respect to the moments.

Let G0, G1, G2 be the gradients with respect to s0, s1, s2. To first order, descriptor i contributes Σ_k γ_ik q_ik to
the loss, where

    q_ik = G0_k + Σ_d G1_kd t_ikd + G2_kd t_ikd²,    R_ik = γ_ik (q_ik − Σ_j γ_ij q_ij)
    ∂/∂x_i     = Σ_k [γ_ik (G1_k + 2 G2_k t_ik) − R_ik t_ik] / sd_k
    ∂/∂log w_k = Σ_i R_ik
    ∂/∂mean_k  = [Σ_i R_ik t_ik − G1_k s0_k − 2 G2_k s1_k] / sd_k
    ∂/∂var_k   = [Σ_i R_ik (t_ik² − 1) − G1_k s1_k − 2 G2_k s2_k] / (2 var_k)

With weights ω_i of the descriptors, all terms of descriptor i, γ_ik q_ik, R_ik and ∂/∂x_i, have the factor ω_i.

All sums over dimensions and descriptors are matrix products with x and x², so that no array of size n·k·d is needed.
They are computed in float64: the expansion of t² loses precision by a factor (mean/sd)², which is too much for float32.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

BLOCK_BYTES = 1 << 21  # temporary arrays of a block; this size fits in the cache and is twice as fast as 32 MB
FEWEST = 256  # minimum number of descriptors in a block; the parameters of a wide mixture alone exceed the cache


def gradients(
    x: Tensor,
    log_weights: Tensor,
    means: Tensor,
    variances: Tensor,
    moments: Sequence[Tensor],
    by_moments: Sequence[Tensor],
    threshold: float,
    counts: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients with respect to descriptors, log weights, means and variances, each in the dtype of its argument.

    x: (b, n, d); moments and by_moments: s0 (b, k), s1 (b, k, d), s2 (b, k, d) and the gradients with respect to them;
    counts: weight of each descriptor (b, n). Posteriors below `threshold` are a constant 0, as in the forward pass.
    """
    b, n, d = x.shape
    k = len(means)
    centre = means.double().mean(dim=0)  # (d,): centring the means reduces cancellation
    m, variance = means.double() - centre, variances.double()
    inverse, sd = 1 / variance, variance.sqrt()
    pull = m * inverse
    constant = log_weights.double() - 0.5 * (variance.log() + m * pull).sum(dim=1)  # (k,)
    g0, g1, g2 = (g.double() for g in by_moments)
    linear, square = g1 / sd - 2 * g2 * pull, g2 * inverse  # (b, k, d): q as a polynomial of x
    offset = g0 + (g2 * m * pull - g1 * m / sd).sum(dim=2)  # (b, k)

    by_x = torch.empty_like(x)
    mass, first, second = m.new_zeros(k), torch.zeros_like(m), torch.zeros_like(m)  # Σ R, Σ R x, Σ R x²
    rows = max(FEWEST, BLOCK_BYTES // (8 * 4 * (k + d)))
    maps, pieces = max(1, rows // n), -(-n // rows)
    rows = -(-n // pieces)  # blocks of equal size
    for i in range(0, b, maps):
        some = slice(i, i + maps)
        for j in range(0, n, rows):
            part = (some, slice(j, j + rows))
            y = x[part].double() - centre  # (maps, rows, d)
            y2 = y * y
            score = y @ pull.T - 0.5 * (y2 @ inverse.T) + constant
            gamma = score.softmax(dim=2)  # (maps, rows, k)
            kept = gamma.where(gamma >= threshold, 0.0)
            if counts is not None:
                kept = kept * counts[part].double()[..., None]
            q = y @ linear[some].mT + y2 @ square[some].mT + offset[some, None, :]
            q *= kept
            r = q - gamma * q.sum(dim=2, keepdim=True)
            slope = kept @ (2 * square[some]) - r @ inverse
            by_x[part] = (kept @ linear[some] + r @ pull + y * slope).to(x.dtype)
            flat = r.reshape(-1, k).T
            mass += flat.sum(dim=1)
            first += flat @ y.reshape(-1, d)
            second += flat @ y2.reshape(-1, d)

    shift = first - mass[:, None] * m  # Σ R (x − mean)
    spread = second - m * (first + shift)  # Σ R (x − mean)²
    s0, s1, s2 = (s.double() for s in moments)
    by_means = shift * inverse - (g1 * s0[..., None] + 2 * g2 * s1).sum(dim=0) / sd
    by_variances = 0.5 * inverse * (spread * inverse - mass[:, None] - (g1 * s1 + 2 * g2 * s2).sum(dim=0))
    return (
        by_x,
        mass.to(log_weights.dtype),
        by_means.to(means.dtype),
        by_variances.to(variances.dtype),
    )
