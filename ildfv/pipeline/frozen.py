"""A frozen network: architecture by name, weights from a safetensors file, no training."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ildfv.datasets.slice_store import Slices
from ildfv.errors import InputError, check
from ildfv.progress import Progress
from ildfv.store.atomic import sha256

FROZEN = ", frozen"  # after the name of the network, where an encoding records its model
OWN = ("mean", "std")  # buffers of `Network` that no file of weights has
COUNTERS = "num_batches_tracked"  # of batch normalisation; unused when the network is frozen


def frozen_network(name: str, weights: Path, slices: Slices, train: np.ndarray, device: str, progress: Progress):
    """The network `name` with the weights of a file, in evaluation mode on `device`.

    Its input is normalised to the mean and standard deviation of each window over the slices `train`, the statistics
    that pretrained networks expect of their input.

    Raises
    ------
    InputError
        A file that is not safetensors, or that lacks a tensor of the network. A tensor of another shape is accepted for
        the last layer only, which the network has for other classes.
    """
    from safetensors import SafetensorError, safe_open

    from ildfv.train.data import train_mean_std
    from ildfv.train.networks import build, check_whole_slices, load_weights

    check_whole_slices(name)
    check(Path(weights).is_file(), f"weights must be a safetensors file, got {weights}, which is no file")
    network = build(name)
    own = {key: tuple(value.shape) for key, value in network.state_dict().items() if key not in OWN}
    try:
        with safe_open(weights, framework="numpy") as file:
            shapes = {key: tuple(file.get_slice(key).get_shape()) for key in list(file.keys())}
        found = {key if key in own else f"body.{key}": shape for key, shape in shapes.items()}
        missing = [key for key in own if key not in found and not key.endswith(COUNTERS)]
        check(not missing, f"{weights} must hold all weights of {name}, got none for {', '.join(missing[:3])}")
        last = list(own)[-1].rpartition(".")[0]
        other = [key for key in own if key in found and own[key] != found[key] and key.rpartition(".")[0] != last]
        check(
            not other,
            f"{weights} must hold weights of {name}, got {other and other[0]} of shape {other and found[other[0]]}",
        )
        load_weights(network, weights)
    except SafetensorError as error:
        raise InputError(f"weights must be a safetensors file, got {weights}: {error}") from error
    network.normalise(*train_mean_std(slices, train, progress=progress))
    return network.to(device).eval()


def frozen_name(network: str, layer: str) -> str:
    """The name of an encoding of a frozen network's layer: "timm-resnet18-layer3"."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", f"{network}-{layer}")


def frozen_inputs(network: str, weights: Path) -> dict:
    """What an encoding records of a frozen network."""
    return {"model": f"{network}{FROZEN}", "model_sha256": sha256(Path(weights))}
