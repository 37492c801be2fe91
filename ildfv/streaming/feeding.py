"""Feeds images to a network. On a GPU, reading, copying and computing overlap; on a CPU, they run in sequence."""

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
    """Pairs (batch, its images as a tensor on the device), in order; `batch.images` is a NumPy array."""
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
    """The network's outputs (b, …) for each batch, float32, without gradients.

    read: function from slice indices (b,) to images uint8 (b, 3, 224, 224). batches: slice indices. note: called with a
    message if a GPU runs out of memory, or CUDA graphs cannot be used.
    """
    # Inference mode is set per thread, and on a GPU the network runs in a separate thread, so the network is wrapped.
    inference = torch.inference_mode()(network)
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

    One thread prefetches images. Copies run on a separate stream, the network runs in its own thread and stream, and
    `then` runs on the caller's stream. If memory runs out, the batch size of the step that failed is halved, and `note`
    is called.
    """
    gpu = transfer.Gpu(device)
    steps = Graphed(network, note=note), then
    forward, finish = (OomRetry(step, note=note).joined for step in steps)
    tensors = transfer.to_device(prefetch(images), gpu)
    results = prefetch(transfer.on_side_stream(forward, tensors, gpu), depth=1)
    return (finish(result) for result in transfer.arrived(results, gpu))


def _to_host(outputs: torch.Tensor) -> np.ndarray:
    return outputs.float().cpu().numpy()
