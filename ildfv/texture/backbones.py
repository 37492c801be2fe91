"""The backbones, which are selected by name and can be joined."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np

from ildfv.errors import check
from ildfv.extras import EXTRAS, is_installed
from ildfv.texture.filters import Filters

NETWORK = "efficientnet-lite0"
JOINT = re.compile(r"\+(?=filters|efficientnet-|timm:|torchvision:)")  # the path of a weights file may contain +
KNOWN = (
    "auto, or one or several of filters, efficientnet-lite0, timm:NAME[@FILE] and torchvision:NAME[@FILE], joined by +"
)


class Backbone(Protocol):
    """Images → maps of named layers."""

    name: str
    layers: tuple[str, ...]
    least: int  # minimum side of an image, in pixels

    def auto(self) -> tuple[str, ...]:
        """The layers selected by "auto"."""

    def scales(self, small: bool) -> tuple[float, ...]:
        """The scales selected by "auto". small: whether most images are small (`features.SMALL`)."""

    def maps(self, image: np.ndarray, layers: tuple[str, ...]) -> dict[str, np.ndarray]:
        """The maps (d, h', w') of each layer of an image (h, w) or (h, w, 3)."""


class Joined:
    """Several backbones with different layers, each with its own scales."""

    def __init__(self, parts: Sequence[Backbone]):
        self.parts = tuple(parts)
        self.name = "+".join(part.name for part in self.parts)
        self.layers = tuple(layer for part in self.parts for layer in part.layers)

    def auto(self) -> tuple[str, ...]:
        """The layers that each backbone selects by "auto"."""
        return tuple(layer for part in self.parts for layer in part.auto())


def parts_of(backbone: Backbone | Joined) -> tuple[Backbone, ...]:
    """The backbones of a joined backbone, or the backbone itself."""
    return backbone.parts if isinstance(backbone, Joined) else (backbone,)


def resolved(name: str, smallest: int | None = None) -> str:
    """The name of the backbone that "auto" selects; other names are unchanged.

    "auto" is the filters joined with EfficientNet-lite0, or only the filters if torch or the weights of this network
    are not installed, or if an image is too small for it. smallest: the smallest side of all images in pixels; None if
    it is not known yet.
    """
    if name != "auto":
        return name
    from ildfv.texture.networks import LEAST

    installed = all(is_installed(module) for module in ("torch", *EXTRAS["pretrained"]))
    return f"filters+{NETWORK}" if installed and (smallest is None or smallest >= LEAST) else "filters"


@lru_cache(maxsize=4)
def backbone_of(name: str) -> Backbone | Joined:
    """The backbone with this name; InputError if there is none, or if two joined backbones have the same layers.

    "timm:resnet18" has the weights published by timm, "timm:resnet18@weights.safetensors" the weights in a file, and
    "timm:resnet18@random" random weights. "filters+timm:resnet18" has the layers of both.
    """
    parts = [_single(part, name) for part in JOINT.split(resolved(name))]
    layers = [layer for part in parts for layer in part.layers]
    same = sorted({layer for layer in layers if layers.count(layer) > 1})
    check(not same, f'backbones joined by + must have different layers, got {same[:1]} twice in "{name}"')
    return parts[0] if len(parts) == 1 else Joined(parts)


def _single(name: str, whole: str) -> Backbone:
    """One of the backbones whose names are joined in the name `whole`."""
    if name == "filters":
        return Filters()
    source, _, rest = name.partition(":")
    model, _, weights = rest.partition("@")
    lite = name == NETWORK
    check(lite or (source in ("timm", "torchvision") and bool(model)), f'backbone must be {KNOWN}, got "{whole}"')
    from ildfv.texture.networks import Network

    return Network(source, model, weights or None)


def layers_of(backbone: Backbone | Joined, layers: str | Sequence[str]) -> tuple[str, ...]:
    """The names of the layers as a tuple; "auto" gives the backbone's choice. InputError: none, or unknown."""
    if isinstance(layers, str):
        if layers == "auto":
            return backbone.auto()
        layers = layers.split(",")
    check(len(layers) > 0, "layers must contain at least one name, got none")
    for layer in layers:
        shown = ", ".join(backbone.layers[:20])
        check(layer in backbone.layers, f'layers of backbone {backbone.name} must be among {shown}, got "{layer}"')
    return tuple(layers)
