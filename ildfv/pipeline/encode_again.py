"""The command that replaces a finished encoding with one of the same settings, for messages."""

from __future__ import annotations

from typing import Any

from ildfv.pipeline.choices import FROZEN, PASSES
from ildfv.pipeline.encode import EncodeSettings
from ildfv.pipeline.encode_command import encode_command
from ildfv.pipeline.encodings import Encoding
from ildfv.pipeline.frozen import frozen_name


def encode_again(encoding: Encoding) -> str:
    """The `ildfv encode --fresh` command with the layer, region, fold, network and settings of an encoding."""
    inputs, default = encoding.inputs, EncodeSettings()
    model, network = str(inputs.get("model", "")), None
    layer, options = encoding.layer, []
    if model.endswith(FROZEN):
        network = model.removesuffix(FROZEN)
        layer = layer.removeprefix(frozen_name(network, ""))
    elif "/" in model:  # a trained network, such as cnnf/fold-0
        options.append(f"--model {model.partition('/')[0]}")

    def recorded(name: str) -> Any:
        return inputs.get(name, getattr(default, name))

    for name in ("lungs", "components", "dimensions", "method", "batch_size"):
        if recorded(name) != getattr(default, name):
            options.append(f"--{name.replace('_', '-')} {recorded(name)}")
    if recorded("passes") != PASSES.get(recorded("method")):
        options.append(f"--passes {recorded('passes')}")
    if not recorded("improved"):
        options.append("--no-improved")
    if recorded("seed"):
        options.append(f"--seed {recorded('seed')}")
    command = encode_command(layer, encoding.region, encoding.fold, network)
    return " ".join([command, *options, "--fresh"])
