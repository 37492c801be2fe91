"""Overlapped reading, copying and computing of a network's input on a GPU; on a CPU, the steps run in sequence."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from ildfv.kernels.cuda.oom import OomRetry
from ildfv.streaming import transfer
from ildfv.streaming.graphs import Graphed
from ildfv.streaming.prefetch import prefetch


def feed(batches: Iterable, device: torch.device) -> Iterator[tuple]:
    """(batch, its images on the device) of each batch; `batch.images` is a NumPy array."""
    if device.type == "cpu":
        yield from ((batch, torch.from_numpy(batch.images)) for batch in batches)
        return
    waiting: deque = deque()  # batches whose images are being copied

    def images() -> Iterator[np.ndarray]:
        for batch in batches:
            waiting.append(batch)
            yield batch.images

    for tensor in transfer.to_device(images(), transfer.Gpu(device)):
        yield waiting.popleft(), tensor


def outputs(
    network: Callable[[torch.Tensor], torch.Tensor],
    read: Callable[[np.ndarray], np.ndarray],
    batches: Sequence[np.ndarray],
    device: torch.device,
    note: Callable[[str], None],
) -> Iterator[np.ndarray]:
    """The network's outputs for each batch of slice indices, float32, without gradients."""
    inference = torch.inference_mode()(
        network
    )  # the mode is per thread, and on a GPU the network runs in a separate thread
    if device.type == "cpu":
        yield from (_to_host(inference(torch.from_numpy(read(batch)))) for batch in batches)
        return
    yield from on_gpu(inference, map(read, batches), device, then=_to_host, note=note)


def on_gpu(
    network: Callable[[torch.Tensor], torch.Tensor],
    images: Iterable[np.ndarray],
    device: str | torch.device,
    *,
    then: Callable[[torch.Tensor], Any],
    note: Callable[[str], None],
) -> Generator:
    """then(network(images)) of each batch of images, in order.

    One thread prefetches, copies run on a separate stream, the network on a stream in its own thread, and `then` on the
    caller's stream. On out-of-memory the batch size of the step that failed is halved, and `note` is called.
    """
    gpu = transfer.Gpu(device)
    steps = Graphed(network, note=note), then
    forward, finish = (OomRetry(step, note=note).joined for step in steps)
    tensors = transfer.to_device(prefetch(images), gpu)
    results = prefetch(transfer.on_side_stream(forward, tensors, gpu), depth=1)
    return (finish(result) for result in transfer.arrived(results, gpu))


def _to_host(outputs: torch.Tensor) -> np.ndarray:
    return outputs.float().cpu().numpy()
