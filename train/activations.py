"""Activation maps of one layer. The layers above it are not computed."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from ildfv.errors import InputError
from ildfv.train.networks import SIZE, Network

LISTED = 50  # maximum number of layer names in an error message
PROBE = 8  # number of slices, large enough that memory independent of it is negligible


class _Reached(Exception):
    """Exception that ends the forward pass and carries the layer's output."""

    def __init__(self, maps: torch.Tensor):
        self.maps = maps


class Activations:
    """Callable: slices (b, 3, 224, 224), uint8 or float → a layer's maps (b, d, h, w), float32; fc layers: h = w = 1.

    The maps of the networks in `architectures` are taken **after** the layer's ReLU and before the normalisation or
    pooling that follows the ReLU. Those of other networks are the output of the named module. The former is the usual
    meaning of activation, and the paper does not state another one. Before pooling, conv1 of CNN-F has
    54×54 = 2916 descriptors of 64 dimensions; after pooling it would have 27×27.

    The maps of a convolution are channels last in memory: `maps.permute(0, 2, 3, 1)` is contiguous. Call
    `.contiguous()` for channel-first memory. The input may be a NumPy array; the output is a torch tensor on the
    network's device. `d` and `n` = h·w are attributes. The network is set to evaluation mode. Calls are thread-safe.
    """

    def __init__(self, network: Network, layer: str):
        check_layer(network, layer)
        self.network, self.layer = network.eval(), layer
        self._reaching = threading.local()  # .maps: whether this thread is computing maps
        end: nn.Module = network.body.get_submodule(network.layers[layer])
        end.register_forward_hook(_stop(self._reaching))
        _, self.d, h, w = self(torch.zeros(1, 3, SIZE, SIZE)).shape
        self.n = h * w

    def alone(self) -> Activations:
        """Deletes the layers above this one from the network, if its body is a plain sequence, and returns self.

        This saves memory (conv1 needs 0.1 of CNN-F's 230 MB), but the network can then only compute these maps.
        """
        body, last = self.network.body, self.network.layers[self.layer]
        if isinstance(body, nn.Sequential) and "." not in last:
            names = [name for name, _ in body.named_children()]
            for name in names[names.index(last) + 1 :]:
                delattr(body, name)
        return self

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor | np.ndarray) -> torch.Tensor:
        if isinstance(images, np.ndarray):
            images = torch.from_numpy(images)
        self._reaching.maps = True
        try:
            self.network(images.to(self.device, non_blocking=True))
        except _Reached as reached:
            return self._as_maps(reached.maps)
        finally:
            self._reaching.maps = False
        raise InputError(
            f'layer "{self.layer}" of {self.network.name} must be part of the forward pass, but was not reached'
        )

    @property
    def device(self) -> torch.device:
        """The device of the network and of the maps."""
        return self.network.mean.device

    def bytes_per_slice(self) -> int:
        """Measured peak GPU memory per slice while its maps are computed, without the weights."""
        before = torch.cuda.memory_allocated(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        self(torch.zeros(PROBE, 3, SIZE, SIZE, dtype=torch.uint8))
        return -(-(torch.cuda.max_memory_allocated(self.device) - before) // PROBE)

    def _as_maps(self, maps: torch.Tensor) -> torch.Tensor:
        if maps.ndim == 2:
            maps = maps[:, :, None, None]
        if maps.ndim != 4:
            raise InputError(f'layer "{self.layer}" must give (b, d) or (b, d, h, w), got shape {tuple(maps.shape)}')
        return maps.float()


def check_layer(network: Network, layer: str) -> None:
    """Raises InputError unless the network has this layer."""
    if layer not in network.layers:
        raise InputError(f'layer of {network.name} must be one of {_listed(list(network.layers))}, got "{layer}"')


def _stop(reaching: threading.local) -> Callable:
    """The hook that ends a forward pass. It has no reference to `Activations`, which the network would keep alive."""

    def stop(module: nn.Module, inputs, output: torch.Tensor) -> None:
        if getattr(reaching, "maps", False):  # other calls of the network must return its output
            raise _Reached(output)

    return stop


def _listed(names: list[str]) -> str:
    """Text with at most LISTED names, the least nested ones, and an example of the others."""
    depths = sorted({name.count(".") for name in names})
    deepest = max((d for d in depths if sum(name.count(".") <= d for name in names) <= LISTED), default=depths[0])
    shown, inside = ([n for n in names if (n.count(".") <= deepest) == near] for near in (True, False))
    more = [f"{len(inside)} nested ones such as {inside[0]}"] if inside else []
    return ", ".join([*shown[:LISTED], *more])
