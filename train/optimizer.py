"""The optimizer and its learning rates: their schedule, and their decay from the output to the input."""

from __future__ import annotations

import math

import torch

# torch imports this module with the first optimizer, unless it is already imported. On import, the module keeps an
# exception, whose traceback would keep the calling frames, and the network in them, alive.
import torch._dynamo
from torch import nn

from ildfv.train.settings import TrainSettings

MIN_WARM_UP = 10  # steps
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def make_optimizer(settings: TrainSettings, network: nn.Module) -> torch.optim.Optimizer:
    """AdamW or SGD with momentum. Weight decay excludes biases and normalisation parameters.

    `scale` of a parameter group is the factor of its learning rate: `layer_decay` to the power of the number of layers
    between these parameters and the output.
    """
    layers = layers_of(network)
    depth = {parameter: len(layers) - 1 - i for i, layer in enumerate(layers) for parameter in layer}
    groups: dict[tuple[int, bool], dict] = {}
    for parameter in network.parameters():
        below, decays = depth[parameter] if settings.layer_decay < 1 else 0, parameter.ndim > 1
        options = {"scale": settings.layer_decay**below, "weight_decay": settings.weight_decay if decays else 0.0}
        groups.setdefault((below, decays), {"params": [], **options})["params"].append(parameter)
    # fused: a single pass over CNN-F's 57 million weights, 40 ms per step on two cores
    if settings.optimizer == "sgd":
        return torch.optim.SGD(list(groups.values()), lr=settings.learning_rate, momentum=settings.momentum, fused=True)
    return torch.optim.AdamW(list(groups.values()), lr=settings.learning_rate, fused=True)


def layers_of(network: nn.Module) -> list[list[nn.Parameter]]:
    """The parameters of each layer, from the input to the output, in the order in which the modules are defined.

    A layer is a module that is no list or sequence of modules: a convolution, or a block such as those of a residual
    network. Modules with biases and scales only, such as normalisations, belong to the layer before them. Parameters
    outside all modules, such as position embeddings, belong to the first layer.
    """
    layers: list[list[nn.Parameter]] = []
    seen: set[nn.Parameter] = set()

    def add(module: nn.Module) -> None:
        for child in module.children():
            if type(child) in CONTAINERS:
                add(child)
                continue
            own = [p for p in dict.fromkeys(child.parameters()) if p not in seen]
            seen.update(own)
            if any(p.ndim > 1 for p in own) or (own and not layers):
                layers.append(own)
            elif own:
                layers[-1] += own

    add(getattr(network, "body", network))
    outside = [p for p in network.parameters() if p not in seen]
    return [layers[0] + outside, *layers[1:]] if layers else [outside]


def rate(settings: TrainSettings, step: int, steps: int) -> float:
    """Learning rate of one step of `steps`: a linear warm-up times half a cosine from the peak down to 0.

    The warm-up takes the fraction `warm_up` of all steps, and at least MIN_WARM_UP steps or half of all steps,
    whichever is less. Without a warm-up, a squared loss on few slices initially gives outputs that are a hundred times
    too large.
    """
    least = min(MIN_WARM_UP, steps / 2)
    warm = min(1.0, (step + 1) / max(1.0, least, settings.warm_up * steps))
    return settings.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * step / steps))
