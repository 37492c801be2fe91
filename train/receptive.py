"""Receptive fields: which pixels of a slice each location of an activation map depends on."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import nn
from torch.nn import functional as F

from ildfv.train.activations import Activations
from ildfv.train.networks import SIZE, Network

BATCH = 32  # slices passed through the network at once
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
        """The fraction of each location's receptive field that is inside a region, float64 (m, h·w), in [0, 1].

        Parameters
        ----------
        region : ndarray of shape (m, 224, 224)
            The region in each of m slices; nonzero inside.
        """
        inside = np.asarray(region) != 0
        rows = self.rows / self.rows.sum(axis=1, keepdims=True)  # (h, 224)
        columns = self.columns / self.columns.sum(axis=1, keepdims=True)  # (w, 224)
        return (rows @ inside @ columns.T).reshape(len(inside), -1)

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Maps (m, 224, 224) in which the value of each location (m, h·w) is spread evenly over its receptive field."""
        m, h, w = len(values), len(self.rows), len(self.columns)
        # A pixel is in the fields of few locations: at conv1 of CNN-F, sparse matrices take a tenth of the CPU time.
        rows = csr_array((self.rows / self.rows.sum(axis=1, keepdims=True)).T)  # (224, h)
        columns = csr_array((self.columns / self.columns.sum(axis=1, keepdims=True)).T)  # (224, w)
        maps = np.empty((m, rows.shape[0], columns.shape[0]))
        for found, plane in zip(maps, np.asarray(values, dtype=np.float64).reshape(m, h, w), strict=True):
            found[...] = rows @ np.ascontiguousarray((columns @ np.ascontiguousarray(plane.T)).T)
        return maps


def receptive_fields(network: Network, layer: str) -> ReceptiveFields:
    """The receptive fields of a layer's locations.

    Slices that are 1 in one row or column and 0 elsewhere are passed through a copy of the network that only tracks
    which values depend on them: it has one channel, weights of 1, no biases and no activation functions, and all
    outputs are reduced to 0 or 1. This is exact for convolutions, pooling, skip connections and fully connected layers.
    After a layer that depends on the whole slice, such as squeeze-and-excitation, every receptive field is the slice.
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
    """Maps (b, 1, h, w) that are 1 where the kernel covers a nonzero pixel of any channel, and 0 elsewhere."""
    kernel = torch.ones(1, 1, *layer.kernel_size)
    x = x.amax(dim=1, keepdim=True)
    pad = getattr(layer, "static_padding", None)  # class of efficientnet_lite_pytorch, which pads asymmetrically
    if pad is not None:
        x = pad(x)
    return (F.conv2d(x, kernel, None, layer.stride, layer.padding, layer.dilation) > 0).float()


def _any_feature(x: torch.Tensor) -> torch.Tensor:
    """Values (b, …, 1) that are 1 where any feature is not 0, and 0 elsewhere."""
    return (x > 0).any(dim=-1, keepdim=True).float()


def _unchanged(x: torch.Tensor, *rest, **options) -> torch.Tensor:
    return x
