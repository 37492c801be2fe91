"""Networks by name, slices in, C answers out: CNN-F, its multi-head variant, VGG-19, any torchvision or timm network.

The paper starts from ImageNet weights. Nothing is downloaded here: networks start from scratch (He), and `load_weights`
takes a local safetensors file of whatever weights the user has.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ildfv.errors import InputError, check
from ildfv.train.architectures import NETWORKS, OWN, SIZE, register
from ildfv.train.blocks import Dropout
from ildfv.train.external import SOURCES, external, first_answers

PATCH = "patch"  # the network of `patches`, which takes no whole slices

__all__ = ["NETWORKS", "SIZE", "Network", "build", "load", "load_weights", "register", "save", "set_tensors", "tensors"]


class Network(nn.Module):
    """Answers (b, c), raw scores without a squashing function, of slices (b, 3, 224, 224), uint8 or float in [0, 255].

    `mean` and `std` (3,), in grey levels, normalise each window; they come from training patients and travel with the
    weights. `layers` maps each layer name, in order, to the path of the module whose output is its activation map.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, name: str, n_outputs: int, body: nn.Module, layers: dict[str, str]):
        super().__init__()
        self.name, self.n_outputs, self.body, self.layers = name, n_outputs, body, layers
        self.register_buffer("mean", torch.full((3,), 127.5))
        self.register_buffer("std", torch.full((3,), 64.0))

    def normalise(self, mean: np.ndarray, std: np.ndarray) -> Network:
        """Self, with these grey levels per window (3,) taken off and divided by."""
        for name, value in (("mean", mean), ("std", std)):
            value = np.asarray(value, dtype=np.float32)
            check(value.shape == (3,), f"{name} must have shape (3,), got {value.shape}")
            check(np.isfinite(value).all(), f"{name} must be finite, got {value.tolist()}")
            check(name == "mean" or bool((value > 0).all()), f"std must be positive, got {value.tolist()}")
            getattr(self, name).copy_(torch.from_numpy(value))
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        shape = tuple(images.shape)
        check(len(shape) == 4 and shape[1] == 3, f"images must have shape (b, 3, h, w), got {shape}")
        scale = (1 / self.std).view(3, 1, 1)
        # Windows lie one after the other here, which makes this cheap. The weights lie channels last, and with them all
        # maps from conv1 on: oneDNN and cuDNN convolve that faster, a CPU by a third.
        x = images.to(self.mean.dtype, copy=True).mul_(scale).sub_(self.mean.view(3, 1, 1) * scale)
        return first_answers(self.body(x))


def build(name: str = "cnnf", *, n_outputs: int = 4, seed: int = 0, dropout: float = 0.5) -> Network:
    """A fresh network, the same weights for the same seed whatever was drawn before.

    dropout: share of units dropped after fc6 and fc7 while training.
    name: one of `NETWORKS`, or "torchvision:NAME" or "timm:NAME" (needs that package).
    """
    check(n_outputs >= 1, f"n_outputs must be at least 1, got {n_outputs}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        source, _, model = name.partition(":")
        if name in NETWORKS:
            body, layers = NETWORKS[name](n_outputs)
        elif model and source in SOURCES:
            body, layers = external(source, model, n_outputs)
        else:
            known = ", ".join(name for name in NETWORKS if name != PATCH)
            raise InputError(f'network must be one of {known}, "torchvision:…" or "timm:…", got "{name}"')
    for module in body.modules():
        if isinstance(module, Dropout):
            module.p = dropout
    body.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stubs lack it
    return Network(name, n_outputs, body, layers)


def check_whole_slices(name: str) -> None:
    """Nothing unless the network takes patches of slices alone."""
    check(name != PATCH, f'network must take whole slices, got "{PATCH}", which is the patch baseline\'s')


def save(folder: Path, network: Network, info: dict) -> None:
    """The network's weights and `info` (JSON-able) in `folder`, atomically."""
    from ildfv.store.models import save_model

    save_model(folder, tensors(network), {**info, "network": network.name, "n_outputs": network.n_outputs})


def load(folder: Path, device: str = "cpu") -> Network:
    """The network that `save` left in `folder`, on `device`, in evaluation mode."""
    from ildfv.store.models import load_model

    values, info = load_model(folder)
    network = _unset(info["network"], info["n_outputs"])
    set_tensors(network, values)
    return network.to(device).eval()


def _unset(name: str, n_outputs: int) -> Network:
    """A network whose weights are all to be set: drawing CNN-F's first would take half of the time of loading it."""
    with _Undrawn() if name in OWN else nullcontext():
        return build(name, n_outputs=n_outputs)


class _Undrawn(TorchFunctionMode):
    """Random weights are not drawn: they are whatever lies in memory."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        drawn = func in (torch.Tensor.normal_, torch.Tensor.uniform_)
        return args[0] if drawn else func(*args, **(kwargs or {}))


def tensors(network: nn.Module) -> dict[str, np.ndarray]:
    """Every weight and buffer by name, row-major NumPy arrays."""
    return {k: np.asarray(v.detach().cpu().numpy(), order="C") for k, v in network.state_dict().items()}


def set_tensors(network: nn.Module, values: dict[str, np.ndarray]) -> None:
    """Copies `values` into the network; a missing, unknown or misshapen tensor is an InputError."""
    own = network.state_dict()
    for what, names in (("lack", own.keys() - values.keys()), ("hold unknown", values.keys() - own.keys())):
        check(not names, f"weights {what} {', '.join(sorted(names)[:3])}")
    for name, tensor in own.items():
        shape = tuple(np.shape(values[name]))
        check(shape == tuple(tensor.shape), f"{name} must have shape {tuple(tensor.shape)}, got {shape}")
        tensor.copy_(torch.from_numpy(np.asarray(values[name])))


def load_weights(network: Network, path: Path) -> list[str]:
    """Names of the tensors taken from a local safetensors file: those that fit in shape and name ("body." may lack).

    The last layer of an ImageNet network has another shape, so it keeps its fresh weights. No tensor fits: InputError.
    """
    from safetensors.numpy import load_file

    own, taken = network.state_dict(), []
    for name, value in load_file(path).items():
        full = name if name in own else f"body.{name}"
        if full in own and tuple(own[full].shape) == value.shape:
            own[full].copy_(torch.from_numpy(value))
            taken.append(full)
    check(bool(taken), f"{path} must hold weights of {network.name} (such as {next(iter(own))}), none fits")
    return sorted(taken)
