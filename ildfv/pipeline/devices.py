"""The device for a value of --device: auto, cpu, cuda or cuda:i."""

from __future__ import annotations

import os

from ildfv.errors import InputError, check


def check_name(device: str) -> None:
    """Raises InputError unless `device` is auto, cpu, cuda or cuda:i. `resolve` checks whether the GPU exists."""
    name, colon, number = device.partition(":")
    valid = (device in ("auto", "cpu", "cuda")) or (name == "cuda" and bool(colon) and (number.isdigit() or not number))
    check(valid, f'device must be auto, cpu, cuda or cuda:i, got "{device}"')


def resolve(device: str) -> str:
    """The device, "cpu" or "cuda:i". auto selects a GPU if torch finds one.

    Under torchrun, a GPU without a number is that of the local rank. InputError: the name is not valid, or there is
    no such GPU.
    """
    check_name(device)
    if device == "cpu":
        return "cpu"
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    name, _, number = device.partition(":")
    if name == "cpu":
        return "cpu"
    if not torch.cuda.is_available():
        raise InputError(
            f'device "{device}" needs a CUDA build of torch and a GPU: `ildfv doctor` reports what is missing',
            faq="no-cuda",
        )
    index = int(number) if number else int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count()
    if index >= torch.cuda.device_count():
        raise InputError(f"device must be cuda:0 … cuda:{torch.cuda.device_count() - 1}, got {device}")
    return f"cuda:{index}"
