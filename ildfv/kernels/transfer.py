"""Feeding a GPU: batches that fit its memory, and copies to it that nobody waits for. torch is imported where used.

Reading, copying, network and moments run at once: slices go from pinned memory on a stream of copies, the network runs
in a thread and on a stream of its own (`apart`), the moments on the caller's. Events say what waits for what.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import numpy as np

from ildfv.kernels import pool

SHARE = 0.6  # of free memory a batch may take: the pools of torch and of other processes keep the rest
AHEAD = 2  # batches read before they are asked for; pinned buffers: one is filled while the other is copied
Item = TypeVar("Item")


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


def batch_size(bytes_of_an_item: int, device, *, most: int = 256) -> int:
    """How many items of `bytes_of_an_item`, all they need while computed, fit in the device's free memory; ≥ 1, ≤ most.

    device: "cuda:i" or a torch.device. What pools keep for later arrays counts as free.
    """
    return max(1, min(most, int(pool.free(device) * SHARE) // max(1, bytes_of_an_item)))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` is a device's way to say that its memory is full: torch's, CuPy's, or CUDA's own."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return "OutOfMemoryError" in names or (isinstance(error, RuntimeError) and "out of memory" in str(error))


class Halving:
    """compute over batches, in halves from where memory ran out: callable, items → results of as many parts as it took.

    A part that fails has given nothing, so nothing is given twice. With one item left there is nothing to halve and the
    error is raised. What fitted once is the size of all later parts. `note` is told of each halving.
    """

    def __init__(self, compute: Callable, *, note: Callable[[str], None] = lambda text: None, size: int | None = None):
        self.compute, self.note = compute, note
        self.size = size  # items at once; None: as many as come

    def __call__(self, items: Sequence) -> list:
        results: list = []
        start = 0
        while start < len(items):
            part = items[start : start + (self.size or len(items))]
            full = False
            try:
                result = self.compute(part)
            except Exception as error:
                if not is_out_of_memory(error) or len(part) == 1:
                    raise
                full = True
            if full:  # handled out here: the error held the frames that held the memory
                self.size = -(-len(part) // 2)
                pool.empty()
                self.note(f"out of device memory: going on with {self.size} at a time")
                continue
            results.append(result)
            start += len(part)
        return results

    def joined(self, items: Sequence):
        """The results as one array or tensor."""
        results = self(items)
        if len(results) == 1:
            return results[0]
        if type(results[0]).__module__.partition(".")[0] == "torch":
            import torch

            return torch.cat(results)
        from ildfv.arrays import namespace  # here, as the kernels run without array-api-compat

        return namespace(*results).concat(results)


def ahead(items: Iterable[Item], depth: int = AHEAD) -> Generator[Item, None, None]:
    """The items in order, computed in a thread of their own up to `depth` before they are asked for.

    An error in the thread is raised here, in its place; leaving the loop early stops the thread.
    """
    done = object()
    box: queue.Queue = queue.Queue(maxsize=depth)
    left = threading.Event()

    def put(item) -> bool:
        while not left.is_set():
            try:
                box.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for item in items:
                if not put((item, None)):
                    return
            put((done, None))
        except BaseException as error:
            put((done, error))

    thread = threading.Thread(target=work, daemon=True, name="ildfv-ahead")
    thread.start()
    try:
        while True:
            item, error = box.get()
            if error is not None:
                raise error
            if item is done:
                return
            yield item
    finally:
        left.set()  # and no wait: the garbage collector may close this in any thread, under any lock


def to_device(arrays: Iterable[np.ndarray], gpu: Gpu) -> Iterator:
    """Each array as a torch tensor on the device, in order, through pinned memory on a stream of copies.

    Copies run one array ahead of whoever takes them. A tensor is ready on the stream that is current when it is taken.
    """
    copies = gpu.stream()
    buffers = [_Pinned(gpu) for _ in range(AHEAD)]
    under_way: deque = deque()
    for i, array in enumerate(arrays):
        under_way.append(buffers[i % AHEAD].copy(array, copies))
        if len(under_way) == AHEAD:
            yield _taken(gpu, *under_way.popleft())
    while under_way:
        yield _taken(gpu, *under_way.popleft())


def apart(compute: Callable, tensors: Iterable, gpu: Gpu) -> Iterator[tuple[Any, Any]]:
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
    """Each result of `apart`, ready on the stream that is current when it is taken."""
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
