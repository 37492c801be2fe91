"""Feeding a GPU: batches that fit its memory, and copies to it that nobody waits for. torch is imported where used.

Reading, copying, network and moments run at once: slices go from pinned memory on a stream of copies, the network runs
in a thread and on a stream of its own (`on_side_stream`), the moments on the caller's. Events say what waits for what.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

BUFFERS = 2  # pinned: one is filled while the other is copied


class Gpu:
    """What feeding asks of a CUDA device: streams, events, pinned memory. Tests bring another."""

    def __init__(self, device):
        import torch

        self._torch, self.device = torch, torch.device(device)

    def stream(self) -> Any:
        """A new stream."""
        return self._torch.cuda.Stream(self.device)

    def on(self, stream) -> AbstractContextManager:
        """Makes the stream this thread's current one."""
        return self._torch.cuda.stream(stream)

    def mark(self) -> Any:
        """An event: all that is on the current stream by now is done."""
        event = self._torch.cuda.Event()
        event.record(self._torch.cuda.current_stream(self.device))
        return event

    def wait(self, event) -> None:
        """This thread waits for the event."""
        event.synchronize()

    def follow(self, event) -> None:
        """The current stream waits for the event."""
        self._torch.cuda.current_stream(self.device).wait_event(event)

    def keep(self, tensor) -> None:
        """The tensor's memory is not used again before what is now on the current stream is done."""
        tensor.record_stream(self._torch.cuda.current_stream(self.device))

    def pinned(self, size: int):
        """Page-locked host memory: `size` bytes, uint8."""
        return self._torch.empty(size, dtype=self._torch.uint8, pin_memory=True)

    def moved(self, tensor):
        """A copy on the device, on its way on the current stream."""
        return tensor.to(self.device, non_blocking=True)


def to_device(arrays: Iterable[np.ndarray], gpu: Gpu) -> Iterator:
    """Each array as a torch tensor on the device, in order, through pinned memory on a stream of copies.

    Copies run one array ahead of whoever takes them. A tensor is ready on the stream that is current when it is taken.
    """
    copies = gpu.stream()
    buffers = [_Pinned(gpu) for _ in range(BUFFERS)]
    under_way: deque = deque()
    for i, array in enumerate(arrays):
        under_way.append(buffers[i % BUFFERS].copy(array, copies))
        if len(under_way) == BUFFERS:
            yield _taken(gpu, *under_way.popleft())
    while under_way:
        yield _taken(gpu, *under_way.popleft())


def on_side_stream(compute: Callable, tensors: Iterable, gpu: Gpu) -> Iterator[tuple[Any, Any]]:
    """(compute(tensor), the event after which it is ready) of each tensor, on a stream of its own: for a thread."""
    own = gpu.stream()
    tensors = iter(tensors)
    while True:
        with gpu.on(own):  # not over the yield: the stream is the thread's, and whoever takes the result may be in it
            tensor = next(tensors, None)
            if tensor is None:
                return
            result = compute(tensor)
            done = gpu.mark()
        yield result, done


def arrived(results: Iterable[tuple[Any, Any]], gpu: Gpu) -> Iterator:
    """Each result of `on_side_stream`, ready on the stream that is current when it is taken."""
    for result, done in results:
        yield _taken(gpu, result, done)


class _Pinned:
    """Page-locked host memory, used again once its last copy is done."""

    def __init__(self, gpu: Gpu):
        self._gpu = gpu
        self._memory: Any = None
        self._done: Any = None

    def copy(self, array: np.ndarray, stream):
        """The tensor on the device, and the event after which it holds the array."""
        import torch

        source = torch.from_numpy(np.ascontiguousarray(array))
        if self._done is not None:
            self._gpu.wait(self._done)
        if self._memory is None or self._memory.numel() < source.nbytes:
            self._memory = self._gpu.pinned(source.nbytes)
        pinned = self._memory[: source.nbytes].view(source.dtype).view(source.shape)
        pinned.copy_(source)
        with self._gpu.on(stream):
            target = self._gpu.moved(pinned)
            self._done = self._gpu.mark()
        return target, self._done


def _taken(gpu: Gpu, tensor, done):
    """The tensor, safe to use and to free on the current stream."""
    gpu.follow(done)
    gpu.keep(tensor)
    return tensor
