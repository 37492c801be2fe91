"""Networks by name, from slices to C outputs: those of `architectures` and `pretrained`, of torchvision and of timm.

The paper does not state its initial weights. Nothing is downloaded here: new networks have random weights (He in
`architectures`, otherwise as their package draws them), and `load_weights` reads a local safetensors file.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ildfv.errors import InputError, check
from ildfv.store.tensors import read_tensors
from ildfv.train.architectures import NETWORKS, OWN, SIZE, register
from ildfv.train.blocks import Dropout
from ildfv.train.external import SOURCES, external, main_output
from ildfv.train.layer_names import PRETRAINED
from ildfv.train.pooled import in_sequence
from ildfv.train.rows import independent

PATCH = "patch"  # the network of the patch baseline, which does not accept whole slices

__all__ = [
    "NETWORKS",
    "PRETRAINED",
    "SIZE",
    "Network",
    "build",
    "load",
    "load_weights",
    "register",
    "save",
    "set_tensors",
    "tensors",
]


class Network(nn.Module):
    """Scores (b, c), before any sigmoid, of slices (b, 3, 224, 224), uint8 or float in [0, 255].

    `mean` and `std` (3,), in grey levels, normalise each window; they are computed from training patients and saved
    with the weights. `layers` maps layer names, in order, to the path of the module whose output is the activation map.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, name: str, n_outputs: int, body: nn.Module, layers: dict[str, str]):
        super().__init__()
        self.name, self.n_outputs, self.body, self.layers = name, n_outputs, body, layers
        self.register_buffer("mean", torch.full((3,), 127.5))
        self.register_buffer("std", torch.full((3,), 64.0))

    def normalise(self, mean: np.ndarray, std: np.ndarray) -> Network:
        """Sets the mean and standard deviation of each window, (3,), in grey levels; returns self."""
        for name, value in (("mean", mean), ("std", std)):
            value = np.asarray(value, dtype=np.float32)
            check(value.shape == (3,), f"{name} must have shape (3,), got {value.shape}")
            check(np.isfinite(value).all(), f"{name} must be finite, got {value.tolist()}")
            check(name == "mean" or bool((value > 0).all()), f"std must be positive, got {value.tolist()}")
            getattr(self, name).copy_(torch.from_numpy(value))
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return main_output(self.body(self.normalised(images)))

    def divided(self) -> tuple[Callable[[torch.Tensor], torch.Tensor], nn.Module] | None:
        """(the lower layers, a function of slices; the fully connected layers at the end), which make up the network.

        None if the body is not a sequence, or does not end with fully connected layers.
        """
        if type(self.body) is not nn.Sequential:
            return None
        children = list(self.body)
        connected = [{type(m) for m in child.modules() if list(m.parameters(recurse=False))} for child in children]
        cut = len(children)
        while cut and all(issubclass(kind, nn.Linear) for kind in connected[cut - 1]):
            cut -= 1
        cut += next((i for i, kinds in enumerate(connected[cut:]) if kinds), len(children))
        if cut >= len(children):
            return None
        lower, upper = in_sequence(children[:cut]), self.body[cut:]
        return lambda images: lower(self.normalised(images)), upper

    def normalised(self, images: torch.Tensor) -> torch.Tensor:
        """The slices with zero mean and unit standard deviation, as float."""
        shape = tuple(images.shape)
        check(len(shape) == 4 and shape[1] == 3, f"images must have shape (b, 3, h, w), got {shape}")
        scale = (1 / self.std).view(3, 1, 1)
        # Images are channel-first here, which makes the normalisation fast. Weights, and therefore all maps from conv1
        # on, are channels last: oneDNN and cuDNN are faster with this layout, on a CPU by a third.
        return images.to(self.mean.dtype, copy=True).mul_(scale).sub_(self.mean.view(3, 1, 1) * scale)


def build(name: str = "cnnf", *, n_outputs: int = 4, seed: int = 0, dropout: float = 0.5) -> Network:
    """A new network with random weights that depend on the seed only.

    name: one of `NETWORKS`, or "torchvision:NAME" or "timm:NAME" (needs that package). dropout: fraction of units
    that is dropped after the hidden fully connected layers of the networks in `architectures`, in training mode; other
    networks keep the dropout of their package. InputError: an unknown name, or fewer than one output.
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
    body = independent(body)
    body.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stubs lack it
    return Network(name, n_outputs, body, layers)


def check_whole_slices(name: str) -> None:
    """Raises InputError if the network takes patches instead of whole slices."""
    check(name != PATCH, f'network must take whole slices, got "{PATCH}", the network of the patch baseline')


def save(folder: Path, network: Network, info: dict) -> None:
    """Saves the network's weights and `info` (JSON-serialisable) in `folder`, atomically."""
    from ildfv.store.models import save_model

    own = {"network": network.name, "n_outputs": network.n_outputs, "layers": list(network.layers)}
    save_model(folder, tensors(network), info | own)


def load(folder: Path, device: str = "cpu") -> Network:
    """The network saved in `folder`, on `device`, in evaluation mode."""
    from ildfv.store.models import load_model

    values, info = load_model(folder)
    network = _unset(info["network"], info["n_outputs"])
    set_tensors(network, values)
    return network.to(device).eval()


def restored(name: str, n_outputs: int, values: dict[str, np.ndarray]) -> Network:
    """The network with these weights, without the modules at the end of its body that have no weights in `values`.

    A network that is only used up to a layer is stored without the layers above it. InputError: weights of that layer,
    or of a layer below it, are missing.
    """
    network = _unset(name, n_outputs)
    stored = {key.split(".")[1] for key in values if key.startswith("body.")}
    names = [child for child, _ in network.body.named_children()]
    if isinstance(network.body, nn.Sequential):
        with_weights = [i for i, child in enumerate(names) if list(network.body.get_submodule(child).state_dict())]
        present = [i for i in with_weights if names[i] in stored]
        beyond = [i for i in with_weights if present and i > present[-1]]
        for i in range(beyond[0], len(names)) if beyond else ():
            delattr(network.body, names[i])
    set_tensors(network, values)
    return network


def _unset(name: str, n_outputs: int) -> Network:
    """A network with uninitialised weights. Drawing random weights would take half of the time of loading CNN-F."""
    with _NoInitialisation() if name in OWN else nullcontext():
        return build(name, n_outputs=n_outputs)


class _NoInitialisation(TorchFunctionMode):
    """Skips the drawing of random weights, which stay uninitialised."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        drawn = func in (torch.Tensor.normal_, torch.Tensor.uniform_)
        return args[0] if drawn else func(*args, **(kwargs or {}))


def tensors(network: nn.Module) -> dict[str, np.ndarray]:
    """All weights and buffers by name, as C-contiguous NumPy arrays. They may share memory with the network."""
    return {k: np.asarray(v.detach().cpu().numpy(), order="C") for k, v in network.state_dict().items()}


def set_tensors(network: nn.Module, values: dict[str, np.ndarray]) -> None:
    """Copies `values` into the network; InputError for missing or unknown tensors and for wrong shapes."""
    own = network.state_dict()
    rule = "weights must have the tensors of the network, got"
    for what, names in (("none for", own.keys() - values.keys()), ("unknown", values.keys() - own.keys())):
        check(not names, f"{rule} {what} {', '.join(sorted(names)[:3])}")
    for name, tensor in own.items():
        shape = tuple(np.shape(values[name]))
        check(shape == tuple(tensor.shape), f"{name} must have shape {tuple(tensor.shape)}, got {shape}")
        tensor.copy_(torch.from_numpy(np.asarray(values[name])))


def load_weights(network: Network, path: Path) -> list[str]:
    """Loads the tensors of a safetensors file whose name and shape match those of the network; returns their names.

    Names may lack "body.". The last layer of an ImageNet network has another shape, so this layer keeps its random
    weights. InputError if no tensor matches, or if a tensor contains NaN or infinity.
    """
    own, taken = network.state_dict(), []
    for name, value in read_tensors(path).items():
        full = name if name in own else f"body.{name}"
        if full in own and tuple(own[full].shape) == value.shape:
            own[full].copy_(torch.from_numpy(value))
            taken.append(full)
    rule = f"{path} must contain weights of {network.name}, such as {next(iter(own))}"
    check(bool(taken), f"{rule}, got no matching tensor")
    return sorted(taken)
