"""The device for a value of --device: auto, cpu, cuda or cuda:i."""

from __future__ import annotations

import os

from ildfv.errors import InputError


def resolve(device: str) -> str:
    """The device, "cpu" or "cuda:i". auto selects a GPU if torch finds one.

    Under torchrun, cuda without a number is the GPU of the local rank.
    """
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    name, _, number = device.partition(":")
    if name == "cpu" and not number:
        return "cpu"
    if name != "cuda" or (number and not number.isdigit()):
        raise InputError(f'device must be auto, cpu, cuda or cuda:i, got "{device}"')
    if not torch.cuda.is_available():
        raise InputError(
            f'device "{device}" needs a CUDA build of torch and a GPU: `ildfv doctor` reports what is missing',
            faq="no-cuda",
        )
    index = int(number) if number else int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count()
    if index >= torch.cuda.device_count():
        raise InputError(f"device must be cuda:0 … cuda:{torch.cuda.device_count() - 1}, got {device}")
    return f"cuda:{index}"
