"""Fisher vectors from moments, computed in torch so that autograd can differentiate the normalisation.

The formulas are those of `ildfv.estimators.fisher.vectors`, which supports all array libraries but not autograd.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ildfv.kernels.reference import MIN_NORM, MIN_WEIGHT


def vectors(
    s0: Tensor, s1: Tensor, s2: Tensor, counts: Tensor, weights: Tensor, *, order: str, weight_part: bool
) -> Tensor:
    """Raw Fisher vectors (b, m). counts: descriptors of each map, or the sums of their weights, (b,); weights: (k,)."""
    used = weights >= MIN_WEIGHT
    scale = used / weights.clamp(min=MIN_WEIGHT).sqrt()  # (k,)
    scale = (scale / counts.clamp(min=torch.finfo(s0.dtype).tiny)[:, None])[..., None].to(s0.dtype)  # (b, k, 1)
    mass = s0[..., None]
    parts = [s1 * scale, (s2 - mass) * (scale / 2**0.5)]
    if weight_part:
        parts.insert(0, (mass - (counts[:, None] * weights)[..., None].to(s0.dtype)) * scale)
    if order == "component":
        return torch.cat(parts, dim=2).flatten(1)
    return torch.cat([part.flatten(1) for part in parts], dim=1)


def improved(raw: Tensor, power: float) -> Tensor:
    """sign(r)·|r|^power, scaled to unit L2 norm. The derivative of the power at 0 may be infinite; it is set to 0."""
    size = raw.abs()
    some = size > 0
    rooted = raw.sign() * size.where(some, 1.0).pow(power).where(some, 0.0)
    return torch.nn.functional.normalize(rooted, dim=1, eps=MIN_NORM)
