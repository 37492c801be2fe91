"""Receptive fields: which pixels of a slice each location of an activation map depends on."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ildfv.train.activations import Activations
from ildfv.train.networks import SIZE, Network

BATCH = 32  # slices propagated at once
ELEMENTWISE = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Hardswish, nn.Sigmoid, nn.Hardsigmoid, nn.Dropout,
    nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm, nn.Identity,
)  # fmt: skip
OWN_ELEMENTWISE = ("LocalResponseNorm", "Dropout", "LayerNorm2d")  # classes of `blocks`, torchvision and timm


@dataclass(frozen=True)
class ReceptiveFields:
    """The pixels that each location of an activation map (h, w) depends on: a rectangle of rows and columns.

    rows: bool (h, 224), columns: bool (w, 224).
    """

    rows: np.ndarray
    columns: np.ndarray

    def shares(self, region: np.ndarray) -> np.ndarray:
        """The share of each location's receptive field inside a region, float64 (m, h·w), in [0, 1].

        Parameters
        ----------
        region : ndarray of shape (m, 224, 224)
            Nonzero inside; for each of m slices.
        """
        inside = np.asarray(region) != 0
        rows = self.rows / self.rows.sum(axis=1, keepdims=True)  # (h, 224)
        columns = self.columns / self.columns.sum(axis=1, keepdims=True)  # (w, 224)
        return (rows @ inside @ columns.T).reshape(len(inside), -1)

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Values of locations (m, h·w) spread evenly over their receptive fields, (m, 224, 224), with the same sum."""
        m, h, w = len(values), len(self.rows), len(self.columns)
        rows = self.rows / self.rows.sum(axis=1, keepdims=True)
        columns = self.columns / self.columns.sum(axis=1, keepdims=True)
        return rows.T @ np.asarray(values, dtype=np.float64).reshape(m, h, w) @ columns


def receptive_fields(network: Network, layer: str) -> ReceptiveFields:
    """The receptive fields of a layer's locations.

    Slices that are 1 in one row or column and 0 elsewhere are passed through a copy of the network that only propagates
    dependence: one channel, weights of 1, no biases, no activation functions, every output reduced to 0 or 1. This is
    exact for convolutions, pooling, skip connections and fully connected layers. After a layer that depends on the
    whole slice, such as squeeze-and-excitation, every receptive field is the whole slice.
    """
    tracer = copy.deepcopy(network).cpu().float().eval()
    tracer.normalise(np.zeros(3), np.ones(3))
    for module in tracer.body.modules():
        if isinstance(module, nn.Conv2d):
            module.forward = partial(_convolved, module)  # type: ignore[method-assign]
        elif isinstance(module, nn.Linear):
            module.forward = _any_feature  # type: ignore[method-assign, assignment]
        elif isinstance(module, ELEMENTWISE) or type(module).__name__ in OWN_ELEMENTWISE:
            module.forward = _unchanged  # type: ignore[method-assign]
    maps = Activations(tracer, layer)
    lit = torch.eye(SIZE)
    found = []
    for axis in (2, 3):  # rows, columns
        seen = []
        for start in range(0, SIZE, BATCH):
            some = lit[start : start + BATCH]
            images = some[:, None, :, None] if axis == 2 else some[:, None, None, :]
            reached = maps(images.expand(len(some), 3, SIZE, SIZE)).amax(dim=(1, 5 - axis)) > 0  # (b, h or w)
            seen.append(reached.numpy())
        found.append(np.concatenate(seen).T)  # (h or w, 224)
    return ReceptiveFields(*found)


def _convolved(layer: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    """1 where the kernel covers a pixel of any channel that is not 0, (b, 1, h, w)."""
    kernel = torch.ones(1, 1, *layer.kernel_size)
    x = x.amax(dim=1, keepdim=True)
    pad = getattr(layer, "static_padding", None)  # of efficientnet_lite_pytorch, which pads asymmetrically
    if pad is not None:
        x = pad(x)
    return (F.conv2d(x, kernel, None, layer.stride, layer.padding, layer.dilation) > 0).float()


def _any_feature(x: torch.Tensor) -> torch.Tensor:
    """1 where any feature is not 0, (b, …, 1)."""
    return (x > 0).any(dim=-1, keepdim=True).float()


def _unchanged(x: torch.Tensor, *rest, **options) -> torch.Tensor:
    return x
