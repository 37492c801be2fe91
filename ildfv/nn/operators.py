"""`moments` as a torch operator, with a fake kernel for torch.compile and exact gradients for autograd."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, library

from ildfv.kernels import moments as kernel
from ildfv.nn.gradients import gradients


class _Mixture:
    """The parameters as attributes of an object, as the kernel expects them."""

    def __init__(self, log_weights: Tensor, means: Tensor, variances: Tensor) -> None:
        self.weights_ = log_weights.detach().double().exp()
        self.means_, self.variances_ = means.detach(), variances.detach()


@library.custom_op("ildfv::moments", mutates_args=())
def moments(
    maps: Tensor,
    log_weights: Tensor,
    means: Tensor,
    variances: Tensor,
    counts: Tensor | None,
    threshold: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """s0 (b, k), s1 (b, k, d), s2 (b, k, d) of maps (b, d, h, w) or (b, n, d). counts (b, n): weights.

    float64 for float64 maps, otherwise float32. Differentiable once, with respect to all tensors except `counts`.
    """
    sums = kernel(maps, _Mixture(log_weights, means, variances), threshold=threshold, weights=counts)
    return sums.s0, sums.s1, sums.s2


@moments.register_fake
def _(maps: Any, log_weights: Any, means: Any, variances: Any, counts: Any, threshold: Any) -> Any:
    (k, d), b = means.shape, maps.shape[0]
    kind = torch.float64 if maps.dtype == torch.float64 else torch.float32
    return tuple(maps.new_empty(shape, dtype=kind) for shape in ((b, k), (b, k, d), (b, k, d)))


@library.custom_op("ildfv::moments_backward", mutates_args=())
def moments_backward(
    maps: Tensor,
    log_weights: Tensor,
    means: Tensor,
    variances: Tensor,
    counts: Tensor | None,
    found: list[Tensor],
    by_moments: list[Tensor],
    threshold: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients with respect to maps, log weights, means and variances, from those with respect to the moments."""
    by_rows, by_log_weights, by_means, by_variances = gradients(
        _rows(maps), log_weights, means, variances, found, by_moments, threshold, counts
    )
    by_maps = torch.empty_like(maps, memory_format=torch.contiguous_format)
    by_maps.copy_(torch.unflatten(by_rows.mT, 2, maps.shape[2:]) if maps.ndim == 4 else by_rows)
    return by_maps, by_log_weights, by_means, by_variances


@moments_backward.register_fake
def _(
    maps: Any, log_weights: Any, means: Any, variances: Any, counts: Any, found: Any, by_moments: Any, threshold: Any
) -> Any:
    by_maps = torch.empty_like(maps, memory_format=torch.contiguous_format)
    return by_maps, *(torch.empty_like(p) for p in (log_weights, means, variances))


def _rows(maps: Tensor) -> Tensor:
    """Descriptors (b, n, d), contiguous along d."""
    return maps.flatten(2).mT.contiguous() if maps.ndim == 4 else maps


def _save_for_backward(ctx: Any, inputs: Any, output: Any) -> None:
    maps, log_weights, means, variances, counts, ctx.threshold = inputs
    ctx.weighted = counts is not None
    ctx.save_for_backward(maps, log_weights, means, variances, *output, *([counts] if ctx.weighted else []))


def _backward(ctx: Any, *by_moments: Any) -> Any:
    maps, log_weights, means, variances, s0, s1, s2, *counts = ctx.saved_tensors
    by_inputs = moments_backward(
        maps,
        log_weights,
        means,
        variances,
        counts[0] if ctx.weighted else None,
        [s0, s1, s2],
        list(by_moments),
        ctx.threshold,
    )
    return *by_inputs, None, None


moments.register_autograd(_backward, setup_context=_save_for_backward)
