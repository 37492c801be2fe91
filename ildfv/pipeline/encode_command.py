"""The `ildfv encode` commands that messages quote."""

from __future__ import annotations

import re

from ildfv.pipeline.choices import REGIONS, SLICE
from ildfv.train.layer_names import OF_NETWORK, PRETRAINED


def encode_command(layer: str, region: str, fold: int | None, network: str | None = None) -> str:
    """The command that encodes a layer, without the options that have their defaults.

    fold: None for the default. network: name of a frozen network; None for the trained network, or for a layer without
    a network.
    """
    options = [f"--layer {layer}"]
    options += [f"--region {region}"] * (region != SLICE)
    options += [f"--fold {fold}"] * (fold is not None)
    options += [f"--network {network}"] * (network is not None)
    options += ["--weights FILE"] * (network is not None and network not in PRETRAINED)
    return f"ildfv encode {' '.join(options)}"


def layer_and_region(name: str) -> tuple[str, str]:
    """The layer and the region of the encodings in the folder `name`: ("conv1", "lung") for "conv1-lung"."""
    region = next((one for one in REGIONS if name.endswith(f"-{one}")), SLICE)
    return name.removesuffix(f"-{region}"), region


def command_of_name(name: str, fold: int | None) -> str:
    """The command that creates the encoding in the folder `name` of the encodings, such as "conv1-lung"."""
    name, region = layer_and_region(name)
    for network in sorted(OF_NETWORK, key=len, reverse=True):  # cnnf-multihead before cnnf
        if name.startswith(f"{network}-"):
            return encode_command(name.removeprefix(f"{network}-"), region, fold, network)
    if found := re.fullmatch(r"(timm|torchvision)-([^-]+)-(.+)", name):
        source, network, layer = found.groups()
        return encode_command(layer, region, fold, f"{source}:{network}")
    return encode_command(name, region, fold)
