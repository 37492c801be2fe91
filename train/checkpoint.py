"""The state of an unfinished training run on disk (network, optimizer, best weights, history), replaced atomically."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from ildfv import distributed
from ildfv.store.atomic import sweep
from ildfv.store.models import has_model, load_info, load_model, save_model
from ildfv.train import networks

NETWORK, OPTIMIZER, BEST = "network/", "optimizer/", "best/"  # prefixes of tensor names


class SaveSchedule:
    """Decides when to write a checkpoint: `seconds` after the last one, or later if writing takes long.

    Writing takes at most the fraction MAX_SHARE of the running time.
    """

    MAX_SHARE = 0.1

    def __init__(self, seconds: float):
        self.seconds, self.took, self.last = seconds, 0.0, time.monotonic()

    def due(self) -> bool:
        if self.seconds <= 0:  # after every step, for tests
            return True
        wait = max(self.seconds, self.took / self.MAX_SHARE)
        return time.monotonic() - self.last >= wait

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Context manager that measures how long the writing of a checkpoint takes."""
        started = time.monotonic()
        yield
        self.last = time.monotonic()
        self.took = self.last - started


class Checkpoint:
    """`folder`/checkpoint: a safetensors file and its JSON, removed when the training run is finished."""

    def __init__(self, folder: Path):
        self.folder = Path(folder) / "checkpoint"

    def exists(self) -> bool:
        """Whether there is a checkpoint to resume from."""
        return has_model(self.folder)

    def info(self) -> dict:
        """The information saved with the state: identity, history, and losses of the current epoch."""
        return load_info(self.folder)

    def remove(self) -> None:
        """Removes the checkpoint, if there is one."""
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def save(self, network, optimizer, best: dict[str, np.ndarray] | None, info: dict) -> None:
        """Saves the full training state. A random state is not needed, because draws depend on seed and step only."""
        self.folder.mkdir(parents=True, exist_ok=True)
        sweep(self.folder)
        state = {
            f"{name}/{key}": value.detach().cpu().numpy()
            for name, parameter in network.named_parameters()
            for key, value in optimizer.state[parameter].items()
        }
        parts = {NETWORK: networks.tensors(network), OPTIMIZER: state, BEST: best or {}}
        save_model(self.folder, {prefix + name: v for prefix, part in parts.items() for name, v in part.items()}, info)

    def load(self, network, optimizer) -> dict[str, np.ndarray] | None:
        """Restores network and optimizer; returns the best weights so far, or None if there are none."""
        values, _ = load_model(self.folder)
        networks.set_tensors(network, _under(NETWORK, values))
        state = _under(OPTIMIZER, values)
        for name, parameter in network.named_parameters():
            optimizer.state[parameter] = {
                key: _like(torch.from_numpy(value), parameter) for key, value in _under(f"{name}/", state).items()
            }
        return _under(BEST, values) or None

    def share(self, network, optimizer) -> None:
        """Broadcasts network and optimizer state from rank 0 to the others, which may be unable to read its disk."""
        if distributed.size() == 1:
            return
        distributed.share_tensors(network.state_dict().values())
        for parameter in network.parameters():
            shapes = distributed.from_main({key: tuple(v.shape) for key, v in optimizer.state[parameter].items()})
            if not distributed.is_main():
                optimizer.state[parameter] = {
                    key: _like(torch.zeros(shape), parameter) for key, shape in shapes.items()
                }
            distributed.share_tensors(optimizer.state[parameter].values())


def _under(prefix: str, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


def _like(value: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """The value on the device of the parameter and, if the shapes are equal, in its memory layout.

    Fused optimizers need the same memory layout.
    """
    if value.shape != parameter.shape:
        return value.to(parameter.device)  # the step count
    return torch.empty_like(parameter, requires_grad=False).copy_(value)
