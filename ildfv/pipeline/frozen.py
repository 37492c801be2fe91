"""Frozen networks: the architecture is given by name, the weights by a safetensors file, and nothing is trained."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ildfv.datasets.slice_store import Slices
from ildfv.errors import InputError, check
from ildfv.pipeline.choices import FROZEN
from ildfv.progress import Progress
from ildfv.store.atomic import sha256
from ildfv.store.tensors import read_tensors
from ildfv.train.layer_names import PRETRAINED

OWN = ("mean", "std")  # buffers of `Network` that weight files do not contain
COUNTERS = "num_batches_tracked"  # suffix of counters of batch normalisation, which frozen networks do not need


def weights_of(name: str, weights: Path | None) -> Path:
    """The file with the weights of a frozen network: the given file, or the file that a package installs for `name`."""
    from ildfv.train.pretrained import packaged_weights

    return packaged_weights(name) if weights is None else Path(weights)


def frozen_network(
    name: str,
    weights: Path,
    slices: Slices,
    train: np.ndarray,
    device: str,
    progress: Progress,
    *,
    layer: str | None = None,
):
    """The network `name` with the weights of a file, in evaluation mode on `device`.

    layer: the layer that will be used, optional. It is checked before any slice is read.

    The input is normalised with the mean and standard deviation of each window over the slices `train`, because
    pretrained networks expect a normalised input.

    Raises
    ------
    InputError
        The network is unknown or does not have `layer`, or the file is not a safetensors file, lacks a tensor of the
        network, contains an additional tensor or one of another shape, or contains NaN or infinity. The tensors of the
        last layer may have another shape, because the number of classes may differ.
    """
    from ildfv.train.activations import Activations
    from ildfv.train.data import train_mean_std
    from ildfv.train.networks import build, check_whole_slices, set_tensors, tensors

    check_whole_slices(name)
    network = build(name)
    own = tensors(network)
    found = {key if key in own else f"body.{key}": value for key, value in _read(name, weights).items()}
    wanted = [key for key in own if key not in OWN]
    missing = [key for key in wanted if key not in found and not key.endswith(COUNTERS)]
    check(not missing, f"{weights} must contain all weights of {name}, got none for {', '.join(missing[:3])}")
    unknown = [key.removeprefix("body.") for key in found if key not in own]
    rule = f"{weights} must contain the weights of {name} and no other tensors"
    check(not unknown, f"{rule}, got {', '.join(unknown[:3])}: is it the file of another network?")
    last = wanted[-1].rpartition(".")[0]
    other = [k for k in wanted if k in found and own[k].shape != found[k].shape]
    wrong = [key for key in other if key.rpartition(".")[0] != last]
    for key in wrong:
        rule = f"{weights} must contain weights of {name}, with {key} of shape {own[key].shape}"
        raise InputError(f"{rule}, got {found[key].shape}")
    set_tensors(network, own | {k: found[k] for k in wanted if k in found and k not in other})
    if layer is not None:
        Activations(network.eval(), layer)
    network.normalise(*train_mean_std(slices, train, progress=progress))
    return network.to(device).eval()


def _read(name: str, weights: Path) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file, or of the checkpoint that a package installs, by name."""
    from ildfv.train.pretrained import packaged_weights, read_checkpoint

    if name in PRETRAINED and weights.suffix == ".pth" and weights == packaged_weights(name):
        return read_checkpoint(weights)
    return read_tensors(weights)


def frozen_name(network: str, layer: str) -> str:
    """The name of the encoding of a frozen network's layer, such as "timm-resnet18-layer3"."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", f"{network}-{layer}")


def frozen_layer(network: str, layers: Iterable[str], name: str) -> str:
    """The layer of a network whose encoding is named `name`. InputError: none or several of `layers` give this name."""
    found = [one for one in layers if frozen_name(network, one) == name]
    check(len(found) == 1, f"{name} must name one layer of {network}, got {found}")
    return found[0]


def frozen_inputs(network: str, weights: Path) -> dict:
    """The inputs that an encoding records for a frozen network."""
    return {"model": f"{network}{FROZEN}", "model_sha256": sha256(Path(weights))}
