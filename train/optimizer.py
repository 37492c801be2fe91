"""How weights move: the optimizer, and its learning rate over time."""

from __future__ import annotations

import math

import torch

# The first optimizer would import it, and an error that it keeps from then on would keep all frames above, which hold
# the network that is trained.
import torch._dynamo
from torch import nn

from ildfv.train.settings import TrainSettings

MIN_WARM_UP = 10  # steps


def make_optimizer(settings: TrainSettings, network: nn.Module) -> torch.optim.Optimizer:
    """AdamW or SGD with momentum. Weights decay; biases and the scales of normalisations do not."""
    groups = [
        {"params": [p for p in network.parameters() if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in network.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    # fused: one pass over CNN-F's 57 million weights, 40 ms a step on two cores
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=settings.momentum, fused=True)
    return torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)


def rate(settings: TrainSettings, step: int, steps: int) -> float:
    """Learning rate of one step of `steps`: a linear warm-up times half a cosine from the peak down to 0.

    The warm-up takes its share of all steps, at least MIN_WARM_UP of them where that is no more than half: without it few
    slices and a loss of squares end in answers a hundred times too large, which later steps must first unlearn.
    """
    least = min(MIN_WARM_UP, steps / 2)
    warm = min(1.0, (step + 1) / max(1.0, least, settings.warm_up * steps))
    return settings.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * step / steps))
