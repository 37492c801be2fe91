"""Local response normalisation, CNN-F's normalisation over neighbouring channels."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ildfv.kernels import response


class LocalResponseNorm(nn.Module):
    """x / (κ + α Σ x²)^¾ over five neighbouring channels, κ = 2, α = 10⁻⁴: CNN-F's normalisation, same shape.

    Equal to `nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2)`, which divides α by the size, but much faster. On a
    CPU, maps that are channels last in memory are normalised in a single pass. Otherwise the sum over channels is a
    1×1 convolution with a band matrix, and y^−¾ is computed with two square roots.
    """

    SIZE, ALPHA, KAPPA = 5, 1e-4, 2.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if in_one_pass(x):
            return _OnePass.apply(x)
        channel = torch.arange(x.shape[1], device=x.device)
        band = ((channel[:, None] - channel).abs() <= self.SIZE // 2).to(x.dtype) * self.ALPHA  # (c, c), symmetric
        return _Convolved.apply(x, band[:, :, None, None], torch.full_like(band[0], self.KAPPA))


class _Convolved(torch.autograd.Function):
    """z = x·y^−¾ with y = κ + B x²; its gradient is g·y^−¾ − 3/2·x·B(g·x·y^−7/4), B being symmetric."""

    @staticmethod
    def forward(ctx, x, band, kappa):
        y = F.conv2d(x * x, band, kappa)
        root = y.rsqrt()  # y^−½
        power = root.sqrt().mul_(root)  # y^−¾
        ctx.save_for_backward(x, band, y, power)
        return x * power

    @staticmethod
    def backward(ctx, gradient):
        x, band, y, power = ctx.saved_tensors
        direct = gradient * power
        inner = F.conv2d((direct * x).div_(y), band)
        return direct.addcmul_(x, inner, value=-1.5), None, None


class _OnePass(torch.autograd.Function):
    """The same by the C++ loops of `ildfv.kernels.response`, which compute y again for the gradient."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        rows = rows_of(x)  # (b, h, w, c)
        return to_maps(response.normalise(rows.reshape(-1, rows.shape[3]), **options()).reshape(rows.shape))

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        gradient = gradient.to(x.dtype).contiguous(memory_format=torch.channels_last)
        given = [rows_of(array).reshape(-1, x.shape[1]) for array in (x, gradient)]
        return to_maps(response.normalise_gradient(*given, **options()).reshape(rows_of(x).shape))


def in_one_pass(x: torch.Tensor) -> bool:
    """Whether the C++ loops accept these maps."""
    fits = x.device.type == "cpu" and x.dtype in (torch.float32, torch.bfloat16) and x.ndim == 4
    return fits and x.is_contiguous(memory_format=torch.channels_last)


def options() -> dict:
    """Options of the functions of `ildfv.kernels.response`."""
    norm = LocalResponseNorm
    return {"alpha": norm.ALPHA, "kappa": norm.KAPPA, "reach": norm.SIZE // 2, "threads": torch.get_num_threads()}


def rows_of(x: torch.Tensor) -> np.ndarray:
    """Channels-last maps (b, c, h, w) as an array (b, h, w, c) in the same memory, uint16 for bfloat16."""
    rows = x.detach().permute(0, 2, 3, 1)
    return rows.view(torch.int16).numpy().view(np.uint16) if x.dtype is torch.bfloat16 else rows.numpy()


def to_maps(rows: np.ndarray) -> torch.Tensor:
    """The inverse of `rows_of`."""
    bits = rows.dtype == np.uint16
    maps = torch.from_numpy(rows.view(np.int16)).view(torch.bfloat16) if bits else torch.from_numpy(rows)
    return maps.permute(0, 3, 1, 2)
