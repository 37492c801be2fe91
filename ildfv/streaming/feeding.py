"""Slices to the network's device: on a GPU through pinned memory, read, copied and computed at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch

from ildfv.kernels.cuda.oom import OomRetry
from ildfv.streaming import transfer
from ildfv.streaming.graphs import Graphed
from ildfv.streaming.prefetch import prefetch


def fed(batches: Iterable, device: torch.device) -> Iterator[tuple]:
    """(batch, its images on the device) of each batch."""
    if device.type == "cpu":
        yield from ((batch, torch.from_numpy(batch.images)) for batch in batches)
        return
    waiting: deque = deque()  # copies run ahead

    def images() -> Iterator[np.ndarray]:
        for batch in batches:
            waiting.append(batch)
            yield batch.images

    for tensor in transfer.to_device(images(), transfer.Gpu(device)):
        yield waiting.popleft(), tensor


def answers(
    network: Callable[[torch.Tensor], torch.Tensor],
    read: Callable[[np.ndarray], np.ndarray],
    batches: Sequence[np.ndarray],
    device: torch.device,
    note: Callable[[str], None],
) -> Iterator[np.ndarray]:
    """The network's answers to each batch of slices, float32; on a GPU a batch that does not fit goes in halves."""
    if device.type == "cpu":
        yield from (network(torch.from_numpy(read(batch))).float().numpy() for batch in batches)
        return
    forward = OomRetry(Graphed(network, note=note), note=note)
    images = prefetch(read(batch) for batch in batches)
    for tensor in transfer.to_device(images, transfer.Gpu(device)):
        yield forward.joined(tensor).float().cpu().numpy()
