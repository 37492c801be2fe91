"""Local response normalisation, CNN-F's normalisation over neighbouring channels."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
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
        if _in_one_pass(x):
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
        return _as_maps(response.normalise(_rows(x), **_options()), x)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        gradient = gradient.to(x.dtype).contiguous(memory_format=torch.channels_last)
        return _as_maps(response.normalise_gradient(_rows(x), _rows(gradient), **_options()), x)


def _in_one_pass(x: torch.Tensor) -> bool:
    fits = x.device.type == "cpu" and x.dtype in (torch.float32, torch.bfloat16) and x.ndim == 4
    return fits and x.is_contiguous(memory_format=torch.channels_last)


def _options() -> dict:
    norm = LocalResponseNorm
    return {"alpha": norm.ALPHA, "kappa": norm.KAPPA, "reach": norm.SIZE // 2, "threads": torch.get_num_threads()}


def _rows(x: torch.Tensor) -> np.ndarray:
    """Channels-last maps (b, c, h, w) as an array (b·h·w, c) in the same memory, uint16 for bfloat16."""
    rows = x.detach().permute(0, 2, 3, 1).reshape(-1, x.shape[1])
    return rows.view(torch.int16).numpy().view(np.uint16) if x.dtype is torch.bfloat16 else rows.numpy()


def _as_maps(rows: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    b, c, h, w = like.shape
    flat = (
        torch.from_numpy(rows.view(np.int16)).view(torch.bfloat16)
        if rows.dtype == np.uint16
        else torch.from_numpy(rows)
    )
    return flat.view(b, h, w, c).permute(0, 3, 1, 2)
