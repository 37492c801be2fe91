"""Layers whose outputs for a slice, in evaluation mode, do not depend on the other slices of its batch."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

# Rows of a matrix product. With 32 rows, a product takes 1.2 times as long as with 16 rows, because reading the weights
# of fc6 dominates; two products of 32 rows take 1.6 times as long as one of 64 (bench/NOTES.md).
ROWS = 32
TOKENS = 256  # a slice has about 200 tokens, so the weights are read once per slice


class RowwiseLinear(nn.Linear):
    """`nn.Linear` whose outputs for a row, in evaluation mode, have equal bits in every batch.

    Matrix libraries choose the order of summation by the number of rows; the rounding errors differ by about 1e-6 of
    the largest output. Here, inputs (b, d) are multiplied in blocks of `ROWS` rows, and the last block is padded with
    zeros. Inputs (…, d), such as tokens, are multiplied as rows in blocks of `TOKENS`. In training mode, one product is
    computed. If autocast multiplies in bfloat16, the gradient of the weights is still a product in float32.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kind = x.device.type
        if self.training and x.ndim == 2 and not torch.compiler.is_compiling():
            cast = x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x
            return _Product.apply(cast, self.weight, self.bias)
        if self.training or x.ndim < 2 or x.numel() == 0:
            return F.linear(x, self.weight, self.bias)
        size, rows = ROWS if x.ndim == 2 else TOKENS, x.flatten(0, -2)  # (n, d)
        blocks = F.pad(rows, (0, 0, 0, -len(rows) % size)).split(size)
        found = torch.cat([F.linear(block, self.weight, self.bias) for block in blocks])[: len(rows)]
        return found.unflatten(0, x.shape[:-1])


class _Product(torch.autograd.Function):
    """x @ weightᵀ + bias in the type of x; the gradient of the weight is computed in the type of the weight.

    autocast would compute it in bfloat16 and convert it, which takes longer: the product has few rows, so the time is
    that of writing the result. On a CPU, products of few rows are computed as (weight @ xᵀ)ᵀ, which takes 0.7 times as
    long with 16 rows.
    """

    @staticmethod
    def forward(ctx, x, weight, bias):
        cast = weight.to(x.dtype)
        ctx.save_for_backward(x, cast, weight)
        bias = None if bias is None else bias.to(x.dtype)
        if x.device.type != "cpu" or len(x) > ROWS:
            return F.linear(x, cast, bias)
        columns = cast @ x.T if bias is None else torch.addmm(bias[:, None], cast, x.T)  # (outputs, n)
        return columns.T.contiguous()

    @staticmethod
    def backward(ctx, gradient):
        x, cast, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        exact = gradient.to(weight.dtype)
        return (
            gradient @ cast if of_x else None,
            exact.T @ x.to(weight.dtype) if of_weight else None,
            exact.sum(dim=0) if of_bias else None,
        )


class SlicewiseConv2d(nn.Conv2d):
    """`nn.Conv2d` that, on a CPU in evaluation mode, is always computed by oneDNN, which computes slices separately.

    torch otherwise chooses another algorithm, with rounding errors of up to 2e-6 of the largest output, for a single
    small map and, with one thread, for 1×1 convolutions of fewer than 16 slices. With oneDNN the outputs for a slice
    have equal bits in every batch.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        by_torch = self.training or x.device.type != "cpu" or x.dtype != torch.float32 or x.ndim != 4
        if by_torch or torch.is_grad_enabled() or not torch.backends.mkldnn.is_available():
            return super().forward(x)
        if isinstance(self.padding, str) or self.padding_mode != "zeros":
            return super().forward(x)
        return torch.mkldnn_convolution(
            x, self.weight, self.bias, self.padding, self.stride, self.dilation, self.groups
        )


KINDS: dict[type[nn.Module], type[nn.Module]] = {nn.Linear: RowwiseLinear, nn.Conv2d: SlicewiseConv2d}


def independent(body: nn.Module) -> nn.Module:
    """`body` with every `nn.Linear` and `nn.Conv2d` replaced by one of these layers with the same parameters and hooks.

    Instances of subclasses, such as timm's convolutions with padding, are kept, because they may compute something
    else: their outputs for a slice may differ in the last bits between batches. The same holds for products within
    attention. A layer that is used in several places is replaced by one layer.
    """
    replaced: dict[nn.Module, nn.Module] = {}
    for name, layer in list(body.named_modules(remove_duplicate=False)):
        if type(layer) in KINDS:
            if layer not in replaced:
                replaced[layer] = _replacement(layer)
            parent, _, own = name.rpartition(".")
            if name:
                setattr(body.get_submodule(parent), own, replaced[layer])
    return replaced.get(body, body)


def _replacement(layer: nn.Module) -> nn.Module:
    new = KINDS[type(layer)].__new__(KINDS[type(layer)])
    new.__dict__ = layer.__dict__.copy()  # shares parameters, buffers and hooks, which a constructor would not keep
    return new
