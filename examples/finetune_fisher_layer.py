"""Fine-tuning of a small network through a Fisher-vector layer, on scikit-image's brick, grass and gravel.

    python examples/finetune_fisher_layer.py

Training patches are from the left half of each picture, and test patches from the right half. A small convolutional
network is trained three times with the same number of steps: with global average pooling, with a Fisher layer whose
mixture is fixed, and with a Fisher layer whose mixture is trained. The first batch initialises a Fisher layer. Prints
the accuracies on the test patches. Takes about a minute on a CPU.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from skimage import data
from torch import nn

from ildfv.nn import FisherVector2d

SIDE, BATCH, STEPS, TEST = 32, 24, 40, 300  # pixels, patches, steps, test patches
# Standard deviation of the patches, to which noise of standard deviation 1 is added. With a larger value, the task is
# too easy for a comparison.
CONTRAST = 0.35


def patches(rng: np.random.Generator, n: int, half: int) -> tuple[torch.Tensor, torch.Tensor]:
    """n patches (n, 1, SIDE, SIDE) of one half of the pictures, each standardised, with their classes."""
    pictures = [p.astype(np.float32) for p in (data.brick(), data.grass(), data.gravel())]
    labels = rng.integers(0, 3, n)
    images = np.empty((n, 1, SIDE, SIDE), np.float32)
    for i, label in enumerate(labels):
        top, left = rng.integers(0, 512 - SIDE), rng.integers(0, 256 - SIDE) + 256 * half
        patch = pictures[label][top : top + SIDE, left : left + SIDE]
        patch = np.rot90(patch, rng.integers(4))
        images[i, 0] = CONTRAST * (patch - patch.mean()) / (patch.std() + 1e-6) + rng.standard_normal(patch.shape)
    return torch.from_numpy(images), torch.from_numpy(labels)


def features() -> nn.Sequential:
    """Two convolutions: images (b, 1, h, w) → maps (b, 24, h/2, w/2)."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(16, 24, 3, padding=1, bias=False),
        nn.BatchNorm2d(24),
        nn.ReLU(),
    )


def train(network: nn.Module, name: str) -> float:
    """The accuracy on test patches after STEPS steps."""
    rng, start = np.random.default_rng(0), time.perf_counter()
    network.train()
    with torch.no_grad():
        network(patches(rng, 64, 0)[0])  # initialises the Fisher layer
    mixture = [p for m in network.modules() if isinstance(m, FisherVector2d) for p in m.parameters()]
    rest = [p for p in network.parameters() if not any(p is parameter for parameter in mixture)]
    # The mixture is already fitted, and weight decay would pull its means to 0.
    slow = {"params": mixture, "lr": 3e-4, "weight_decay": 0.0}
    optimiser = torch.optim.AdamW([{"params": rest}, *([slow] if mixture else [])], lr=3e-3, weight_decay=1e-2)
    for _ in range(STEPS):
        x, y = patches(rng, BATCH, 0)
        loss = nn.functional.cross_entropy(network(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    network.eval()
    x, y = patches(np.random.default_rng(1), TEST, 1)
    with torch.no_grad():
        accuracy = float((network(x).argmax(1) == y).float().mean())
    print(f"{name}: {100 * accuracy:.1f} % of {TEST} patches, {time.perf_counter() - start:.0f} s")
    return accuracy


def main() -> dict[str, float]:
    """The accuracy with each kind of pooling."""
    accuracies = {}
    torch.manual_seed(0)
    accuracies["mean"] = train(
        nn.Sequential(features(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 3)), "average pooling"
    )
    for trainable in (False, True):
        torch.manual_seed(0)
        layer = FisherVector2d(24, 8, trainable=trainable)
        name = "Fisher layer, trained" if trainable else "Fisher layer, fixed mixture"
        accuracies[name] = train(nn.Sequential(features(), layer, nn.Linear(layer.n_outputs, 3)), name)
    return accuracies


if __name__ == "__main__":
    main()
