"""One layer's activation maps, computed no further than that layer."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from ildfv.errors import InputError
from ildfv.train.networks import SIZE, Network

LISTED = 50  # layer names in an error
PROBE = 8  # slices: enough that what does not grow with them counts for little


class _Reached(Exception):
    """Carries the wanted output out of the forward pass; the layers above never run."""

    def __init__(self, maps: torch.Tensor):
        self.maps = maps


class Activations:
    """Callable: slices (b, 3, 224, 224), uint8 or float → a layer's maps (b, d, h, w), float32; fc layers: h = w = 1.

    The maps are taken **after** the layer's ReLU and before the normalisation or pooling that follows it. That is what
    is usually called an activation, and the paper does not say that it takes anything else; before pooling conv1 has
    the paper's 54×54 = 2916 descriptors of 64, after it there would be 27×27.

    In memory the maps of a convolution come channels last: `maps.permute(0, 2, 3, 1)` is contiguous, descriptor after
    descriptor. For a map that lies channel after channel call `.contiguous()`.
    `d` and `n` = h·w are known at once. A NumPy array may come in; a torch tensor on the network's device goes out.
    The network is set to evaluation mode. Several threads may call at once.
    """

    def __init__(self, network: Network, layer: str):
        if layer not in network.layers:
            raise InputError(f'layer of {network.name} must be one of {_listed(list(network.layers))}, got "{layer}"')
        self.network, self.layer = network.eval(), layer
        self._reaching = threading.local()  # .maps: asked for by this thread
        end: nn.Module = network.body.get_submodule(network.layers[layer])
        end.register_forward_hook(_stop(self._reaching))
        _, self.d, h, w = self(torch.zeros(1, 3, SIZE, SIZE)).shape
        self.n = h * w

    def alone(self) -> Activations:
        """Self, with the layers above dropped where the body is a plain sequence: of CNN-F's 230 MB conv1 needs 0.1.

        For whoever uses the network for nothing else.
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
            f'layer "{self.layer}" of {self.network.name} must take part in the forward pass, it was not reached'
        )

    @property
    def device(self) -> torch.device:
        """Where the network is, and the maps."""
        return self.network.mean.device

    def bytes_of_a_slice(self) -> int:
        """What a slice takes of a GPU's memory while its maps are computed, measured; weights are not counted."""
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


def _stop(reaching: threading.local) -> Callable:
    """The hook that ends a forward pass. It knows no `Activations`: a network that knew its user would outlive it."""

    def stop(module: nn.Module, inputs, output: torch.Tensor) -> None:
        if getattr(reaching, "maps", False):  # the network's other users go on to its end
            raise _Reached(output)

    return stop


def _listed(names: list[str]) -> str:
    """The names, as deep as LISTED of them go, and an example of what lies deeper."""
    depths = sorted({name.count(".") for name in names})
    deepest = max((d for d in depths if sum(name.count(".") <= d for name in names) <= LISTED), default=depths[0])
    shown, inside = ([n for n in names if (n.count(".") <= deepest) == near] for near in (True, False))
    more = [f"{len(inside)} within them such as {inside[0]}"] if inside else []
    return ", ".join([*shown[:LISTED], *more])
