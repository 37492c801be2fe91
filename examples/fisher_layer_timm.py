# %% [markdown]
# # A Fisher-vector layer on a network of timm
#
# A network of three parts is trained on patches of scikit-image's brick, grass and gravel: the first blocks of a ResNet
# of timm, `FisherVector2d` instead of global pooling, and a linear layer. The initial weights of the ResNet are random,
# so nothing is downloaded. With `pretrained=True`, timm downloads ImageNet weights.
#
#     python examples/fisher_layer_timm.py
#
# Prints the loss at every fifth step, and the accuracy on patches of the other half of each picture.

# %%
from __future__ import annotations

import torch
from skimage import data
from torch import Tensor, nn

from ildfv.nn import FisherVector2d
from ildfv.train.external import declare_operators

SIDE, BATCH, STEPS, TEST, COMPONENTS = 48, 24, 25, 90, 8  # pixels, patches, steps, test patches, components


# %%
class FisherNetwork(nn.Module):
    """Images (b, 1, h, w) → scores (b, n_classes): blocks of a timm network, Fisher vectors, a linear layer."""

    def __init__(self, name: str, n_classes: int, *, pretrained: bool = False):
        super().__init__()
        declare_operators()  # timm imports torchvision, which fails if it was built for another build of torch
        import timm

        self.backbone = timm.create_model(name, pretrained=pretrained, features_only=True, out_indices=(1,), in_chans=1)
        self.fisher = FisherVector2d(self.backbone.feature_info.channels()[0], COMPONENTS)
        self.head = nn.Linear(self.fisher.n_outputs, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.fisher(self.backbone(images)[0]))


def patches(n: int, half: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """n patches (n, 1, SIDE, SIDE) of one half of the pictures, each standardised, with their classes."""
    pictures = [torch.from_numpy(p.astype("float32")) for p in (data.brick(), data.grass(), data.gravel())]
    labels = torch.randint(0, 3, (n,), generator=random)
    tops = torch.randint(0, 512 - SIDE, (n,), generator=random).tolist()
    lefts = (torch.randint(0, 256 - SIDE, (n,), generator=random) + 256 * half).tolist()
    images = torch.stack(
        [
            pictures[label][None, top : top + SIDE, left : left + SIDE]
            for label, top, left in zip(labels.tolist(), tops, lefts, strict=True)
        ]
    )
    return (images - images.mean((2, 3), keepdim=True)) / (images.std((2, 3), keepdim=True) + 1e-6), labels


# %%
def main(steps: int = STEPS, name: str = "resnet18") -> dict[str, float]:
    """The first and the last training loss, and the accuracy on test patches."""
    torch.manual_seed(0)
    random = torch.Generator().manual_seed(0)
    network = FisherNetwork(name, n_classes=3)
    with torch.no_grad():
        network(patches(2 * BATCH, 0, random)[0])  # the first batch in training mode initialises the mixture
    # The mixture is already fitted, and weight decay would pull its means to 0.
    groups = [
        {"params": [*network.backbone.parameters(), *network.head.parameters()]},
        {"params": network.fisher.parameters(), "lr": 3e-4, "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=3e-3, weight_decay=1e-2)
    losses = []
    for step in range(steps):
        images, labels = patches(BATCH, 0, random)
        loss = nn.functional.cross_entropy(network(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        if step % 5 == 0:
            print(f"step {step}: loss {losses[-1]:.3f}")
    images, labels = patches(TEST, 1, random)
    with torch.no_grad():
        accuracy = float((network.eval()(images).argmax(1) == labels).float().mean())
    print(f"{name}, blocks up to the second, Fisher layer: {100 * accuracy:.1f} % of {TEST} test patches")
    return {"first": losses[0], "last": losses[-1], "accuracy": accuracy}


# %%
if __name__ == "__main__":
    main()
