"""The backbones, which are selected by name."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np

from ildfv.errors import check
from ildfv.texture.filters import Filters

KNOWN = "filters, efficientnet-lite0, timm:NAME or torchvision:NAME (append @FILE to use your own weights)"


class Backbone(Protocol):
    """Images → maps of named layers."""

    name: str
    layers: tuple[str, ...]
    least: int  # minimum side of an image, in pixels

    def auto(self) -> tuple[str, ...]:
        """The layers selected by "auto"."""

    def maps(self, image: np.ndarray, layers: tuple[str, ...]) -> dict[str, np.ndarray]:
        """The maps (d, h', w') of each layer of an image (h, w) or (h, w, 3)."""


@lru_cache(maxsize=4)
def backbone_of(name: str) -> Backbone:
    """The backbone with this name; InputError if there is none.

    "timm:resnet18" has the weights published by timm, "timm:resnet18@weights.safetensors" the weights in a file, and
    "timm:resnet18@random" random weights.
    """
    if name == "filters":
        return Filters()
    source, _, rest = name.partition(":")
    model, _, weights = rest.partition("@")
    lite = name == "efficientnet-lite0"
    check(lite or (source in ("timm", "torchvision") and bool(model)), f'backbone must be {KNOWN}, got "{name}"')
    from ildfv.texture.networks import Network

    return Network(source, model, weights or None)


def layers_of(backbone: Backbone, layers: str | Sequence[str]) -> tuple[str, ...]:
    """The names of the layers as a tuple; "auto" gives the backbone's choice. InputError for an unknown layer."""
    if isinstance(layers, str):
        if layers == "auto":
            return backbone.auto()
        layers = layers.split(",")
    check(len(layers) > 0, "layers must contain at least one name, got none")
    for layer in layers:
        shown = ", ".join(backbone.layers[:20])
        check(layer in backbone.layers, f'layers of backbone {backbone.name} must be among {shown}, got "{layer}"')
    return tuple(layers)
