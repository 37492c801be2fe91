"""Asynchronous copies to a GPU through pinned memory, and computation on a side stream.

Reading, copying, the network and the moments overlap: copies run on one stream, the network runs on a second stream in
its own thread (`on_side_stream`), and the moments run on the caller's stream. Events order the work of these streams.
torch is imported only where it is used.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from ildfv.kernels.cuda.oom import with_emptied_pools

BUFFERS = 2  # pinned buffers: one is filled while the other is copied


class Gpu:
    """Streams, events and pinned memory of a CUDA device. Tests replace this class."""

    def __init__(self, device):
        import torch

        self._torch, self.device = torch, torch.device(device)

    def stream(self) -> Any:
        """A new stream."""
        return self._torch.cuda.Stream(self.device)

    def on(self, stream) -> AbstractContextManager:
        """Context manager that makes `stream` this thread's current stream."""
        return self._torch.cuda.stream(stream)

    def mark(self) -> Any:
        """An event that completes when all work queued on the current stream so far has completed."""
        event = self._torch.cuda.Event()
        event.record(self._torch.cuda.current_stream(self.device))
        return event

    def wait(self, event) -> None:
        """Blocks this thread until the event has completed."""
        event.synchronize()

    def follow(self, event) -> None:
        """Makes the current stream wait for the event."""
        self._torch.cuda.current_stream(self.device).wait_event(event)

    def keep(self, tensor) -> None:
        """Prevents reuse of the tensor's memory until the work now queued on the current stream has completed."""
        tensor.record_stream(self._torch.cuda.current_stream(self.device))

    def pinned(self, size: int):
        """Pinned host memory of `size` bytes, uint8."""
        return self._torch.empty(size, dtype=self._torch.uint8, pin_memory=True)

    def moved(self, tensor):
        """A copy on the device, queued on the current stream."""
        return tensor.to(self.device, non_blocking=True)


def to_device(arrays: Iterable[np.ndarray], gpu: Gpu) -> Iterator:
    """Each array as a torch tensor on the device, in order, copied from pinned memory on a separate stream.

    One array is copied in advance. A tensor is ready on the stream that is current when it is yielded.
    """
    copies = gpu.stream()
    buffers = [_Pinned(gpu) for _ in range(BUFFERS)]
    copying: deque = deque()
    for i, array in enumerate(arrays):
        copying.append(buffers[i % BUFFERS].copy(array, copies))
        if len(copying) == BUFFERS:
            yield _on_current_stream(gpu, *copying.popleft())
    while copying:
        yield _on_current_stream(gpu, *copying.popleft())


def on_side_stream(compute: Callable, tensors: Iterable, gpu: Gpu) -> Iterator[tuple[Any, Any]]:
    """Pairs (compute(tensor), event that marks the result as ready), on a new stream; iterate it in its own thread."""
    own = gpu.stream()
    tensors = iter(tensors)
    while True:
        with gpu.on(own):  # ends before the yield, because the consumer's code may run in this thread
            tensor = next(tensors, None)
            if tensor is None:
                return
            result = compute(tensor)
            done = gpu.mark()
        yield result, done


def arrived(results: Iterable[tuple[Any, Any]], gpu: Gpu) -> Iterator:
    """Each result of `on_side_stream`, ready on the stream that is current when it is yielded."""
    for result, done in results:
        yield _on_current_stream(gpu, result, done)


class _Pinned:
    """A pinned buffer, reused once its last copy has completed."""

    def __init__(self, gpu: Gpu):
        self._gpu = gpu
        self._memory: Any = None
        self._done: Any = None

    def copy(self, array: np.ndarray, stream):
        """The tensor on the device, and the event that marks the copy complete."""
        import torch

        source = torch.from_numpy(np.ascontiguousarray(array))
        if self._done is not None:
            self._gpu.wait(self._done)
        if self._memory is None or self._memory.numel() < source.nbytes:
            self._memory = None  # free the buffer before a larger one is allocated
            self._memory = with_emptied_pools(lambda: self._gpu.pinned(source.nbytes))
        pinned = self._memory[: source.nbytes].view(source.dtype).view(source.shape)
        pinned.copy_(source)
        with self._gpu.on(stream):
            target = with_emptied_pools(lambda: self._gpu.moved(pinned))
            self._done = self._gpu.mark()
        return target, self._done


def _on_current_stream(gpu: Gpu, tensor, done):
    """The tensor, which can now be used and freed on the current stream."""
    gpu.follow(done)
    gpu.keep(tensor)
    return tensor
