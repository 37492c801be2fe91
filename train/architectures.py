"""Network architectures: CNN-F, its multi-head variant, VGG-19, and the small network of the patch baseline."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from ildfv.train.blocks import Dropout, Heads
from ildfv.train.layer_names import CNNF
from ildfv.train.response import LocalResponseNorm

SIZE = 224  # pixels, the side of a slice
LAST_LAYER_GAIN = 0.01  # makes initial outputs small; otherwise the first steps would only correct random outputs
Body = tuple[nn.Module, dict[str, str]]
NETWORKS: dict[str, Callable[[int], Body]] = {}


def register(name: str):
    """Decorator that registers a function for `build(name)`: n_outputs → (body, {layer: path of its last module})."""

    def add(function: Callable[[int], Body]):
        NETWORKS[name] = function
        return function

    return add


@register("cnnf")
def cnnf(n_outputs: int) -> Body:
    """CNN-F (Chatfield et al. 2014), the paper's network: 224×224 → conv1 54×54×64 → … → fc7 4096 → C."""
    return _cnnf(_linear(4096, n_outputs, gain=LAST_LAYER_GAIN))


@register("cnnf-multihead")
def cnnf_multihead(n_outputs: int) -> Body:
    """CNN-F with C separate logistic layers instead of one layer of C outputs (paper, section 3.1)."""
    heads = Heads(4096, n_outputs)
    for head in heads.heads:
        _he_initialised(head, LAST_LAYER_GAIN)
    return _cnnf(heads)


def _cnnf(out: nn.Module) -> Body:
    after_lrn = 2**0.75  # LRN divides small activations by κ^β = 2^0.75; the next convolution compensates for this
    body = nn.Sequential()
    body.add_module("conv1", _conv(3, 64, 11, stride=4))  # (b, 64, 54, 54)
    body.add_module("relu1", nn.ReLU(inplace=True))
    body.add_module("lrn1", LocalResponseNorm())
    body.add_module("pool1", nn.MaxPool2d(3, 2, ceil_mode=True))
    body.add_module("conv2", _conv(64, 256, 5, padding=2, gain=after_lrn))  # (b, 256, 27, 27)
    body.add_module("relu2", nn.ReLU(inplace=True))
    body.add_module("lrn2", LocalResponseNorm())
    body.add_module("pool2", nn.MaxPool2d(3, 2))
    for i in (3, 4, 5):
        body.add_module(
            f"conv{i}", _conv(256, 256, 3, padding=1, gain=after_lrn if i == 3 else 1.0)
        )  # (b, 256, 13, 13)
        body.add_module(f"relu{i}", nn.ReLU(inplace=True))
    body.add_module("pool5", nn.MaxPool2d(3, 2))
    body.add_module("flatten", nn.Flatten())
    for i, width in ((6, 256 * 6 * 6), (7, 4096)):
        body.add_module(f"fc{i}", _linear(width, 4096))
        body.add_module(f"relu{i}", nn.ReLU(inplace=True))
        body.add_module(f"drop{i}", Dropout(0.5))
    body.add_module("out", out)
    return body, {name: f"relu{name[-1]}" for name in CNNF}


@register("vgg19")
def vgg19(n_outputs: int) -> Body:
    """VGG-19 (Simonyan & Zisserman 2015, network E): sixteen 3×3 convolutions named conv1_1 … conv5_4, fc6, fc7."""
    body, layers, width = nn.Sequential(), {}, 3
    for stage, (channels, depth) in enumerate(((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)), start=1):
        for i in range(1, depth + 1):
            body.add_module(f"conv{stage}_{i}", _conv(width, channels, 3, padding=1))
            body.add_module(f"relu{stage}_{i}", nn.ReLU(inplace=True))
            layers[f"conv{stage}_{i}"] = f"relu{stage}_{i}"
            width = channels
        body.add_module(f"pool{stage}", nn.MaxPool2d(2))
    body.add_module("flatten", nn.Flatten())
    for i, width in ((6, 512 * 7 * 7), (7, 4096)):
        body.add_module(f"fc{i}", _linear(width, 4096))
        body.add_module(f"relu{i}", nn.ReLU(inplace=True))
        body.add_module(f"drop{i}", Dropout(0.5))
        layers[f"fc{i}"] = f"relu{i}"
    body.add_module("out", _linear(4096, n_outputs, gain=LAST_LAYER_GAIN))
    return body, layers


@register("patch")
def patch(n_outputs: int) -> Body:
    """A small CNN for 32×32 patches: convolutions of 5×5, 5×5 and 3×3, pooled to 4×4×64, then fc4 with 256 units."""
    body = nn.Sequential()
    for i, (inputs, outputs, size) in enumerate(((3, 32, 5), (32, 64, 5), (64, 64, 3)), start=1):
        body.add_module(f"conv{i}", _conv(inputs, outputs, size, padding=size // 2))
        body.add_module(f"relu{i}", nn.ReLU(inplace=True))
        body.add_module(f"pool{i}", nn.MaxPool2d(2))
    body.add_module("flatten", nn.Flatten())
    body.add_module("fc4", _linear(64 * 4 * 4, 256))
    body.add_module("relu4", nn.ReLU(inplace=True))
    body.add_module("drop4", Dropout(0.5))
    body.add_module("out", _linear(256, n_outputs, gain=LAST_LAYER_GAIN))
    return body, {name: f"relu{name[-1]}" for name in ("conv1", "conv2", "conv3", "fc4")}


OWN = frozenset(NETWORKS)  # networks of this module, whose whole state is in the saved weights and buffers


def _conv(inputs: int, outputs: int, size: int, *, gain: float = 1.0, **options) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, size, **options)
    return _he_initialised(layer, gain)


def _linear(inputs: int, outputs: int, *, gain: float = 1.0) -> nn.Linear:
    return _he_initialised(nn.Linear(inputs, outputs), gain)


def _he_initialised(layer, gain: float):
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)
    with torch.no_grad():
        layer.weight.mul_(gain)
    return layer
