"""ReLU, local response normalisation and max pooling of CNN-F in a single pass over the maps, in training on a CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ildfv.kernels import response
from ildfv.train.response import LocalResponseNorm, in_one_pass, options, rows_of, to_maps

WINDOW = {"kernel_size": 3, "stride": 2, "padding": 0, "dilation": 1, "return_indices": False}


def in_sequence(layers: Iterable[nn.Module]) -> Callable[[torch.Tensor], torch.Tensor]:
    """A function that evaluates the layers in turn; ReLU, normalisation and pooling in a single pass where possible.

    Outputs and gradients are the same, in float32 in every bit.
    """
    return lambda x: _run(list(layers), x)


def _run(layers: list[nn.Module], x: torch.Tensor) -> torch.Tensor:
    while layers:
        if _fits(layers[:3], x):
            x, layers = _Pooled.apply(x, layers[2].ceil_mode), layers[3:]
        else:
            x, layers = layers[0](x), layers[1:]
    return x


def _fits(layers: list[nn.Module], x: torch.Tensor) -> bool:
    if [type(layer) for layer in layers] != [nn.ReLU, LocalResponseNorm, nn.MaxPool2d]:
        return False
    plain = all(getattr(layers[2], name) == value for name, value in WINDOW.items())
    hooked = any(layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks for layer in layers)
    return plain and not hooked and in_one_pass(x) and min(x.shape[2:]) >= 3 and x.numel() > 0


class _Pooled(torch.autograd.Function):
    """By the C++ loops of `ildfv.kernels.response`, which normalise again for the gradient."""

    @staticmethod
    def forward(ctx, x, ceil):
        pooled = F.max_pool2d(x[:1, :1].to("meta"), 3, 2, ceil_mode=ceil)  # for its size
        out, place = response.pool(rows_of(x), tuple(pooled.shape[2:]), **options())
        ctx.save_for_backward(x)
        ctx.place = place
        return to_maps(out)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        gradient = gradient.float().contiguous(memory_format=torch.channels_last)
        return to_maps(response.pool_gradient(rows_of(x), rows_of(gradient), ctx.place, **options())), None
