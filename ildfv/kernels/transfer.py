"""Feeding a GPU: batches that fit its memory, and copies to it that nobody waits for. torch is imported where used."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np

Result = TypeVar("Result")
SHARE = 0.6  # of free memory a batch may take: the pools of torch and of other processes keep the rest
AHEAD = 2  # pinned buffers: one is filled while the other is copied


def batch_size(bytes_of_an_item: int, device, *, most: int = 512) -> int:
    """How many items of `bytes_of_an_item`, all they need while computed, fit in the device's free memory; ≥ 1, ≤ most.

    device: "cuda:i" or a torch.device. Memory that torch's pool holds but does not use counts as free.
    """
    import torch

    device = torch.device(device)
    if device.type != "cuda":
        return most
    free, _ = torch.cuda.mem_get_info(device)
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return max(1, min(most, int((free + unused) * SHARE) // max(1, bytes_of_an_item)))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` is a device's way to say that its memory is full: torch's, CuPy's, or CUDA's own."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return "OutOfMemoryError" in names or (isinstance(error, RuntimeError) and "out of memory" in str(error))


def in_batches(
    compute: Callable[[Sequence], Result],
    items: Sequence,
    size: int,
    *,
    note: Callable[[str], None] = lambda text: None,
) -> Iterator[tuple[Sequence, Result]]:
    """(batch, compute(batch)) over all items in order, `size` at a time; half as many from where memory ran out.

    A batch that fails has given nothing, so nothing is given twice. With one item left there is nothing to halve and
    the error is raised. `note` is told of each halving.
    """
    start, size = 0, max(1, size)
    while start < len(items):
        batch = items[start : start + size]
        full = False
        try:
            result = compute(batch)
        except Exception as error:
            if not is_out_of_memory(error) or len(batch) == 1:
                raise
            full = True
        if full:  # handled out here: the error held the frames that held the memory
            size = -(-len(batch) // 2)
            _empty_pools()
            note(f"out of device memory: going on with batches of {size}")
            continue
        yield batch, result
        start += len(batch)


def _empty_pools() -> None:
    """Give memory that no array uses back to the device, so that the other library's pool can have it."""
    import gc
    import sys

    gc.collect()
    if "torch" in sys.modules and sys.modules["torch"].cuda.is_initialized():
        sys.modules["torch"].cuda.empty_cache()
    if "cupy" in sys.modules:
        sys.modules["cupy"].get_default_memory_pool().free_all_blocks()


def to_device(arrays: Iterable[np.ndarray], device) -> Iterator:
    """Each array as a torch tensor on `device`, in order.

    On a GPU each goes through pinned memory on a stream of its own, one array ahead of whoever takes them: reading the
    next, copying it and computing on this one overlap. The tensor is ready on the stream that is current when it is
    taken. On the CPU the tensor shares the array's memory.
    """
    import torch

    device = torch.device(device)
    if device.type != "cuda":
        for array in arrays:
            yield torch.from_numpy(array)
        return
    copies = torch.cuda.Stream(device)
    buffers = [_Pinned() for _ in range(AHEAD)]
    under_way: deque = deque()
    for i, array in enumerate(arrays):
        under_way.append(buffers[i % AHEAD].copy(array, device, copies))
        if len(under_way) == AHEAD:
            yield _arrived(*under_way.popleft())
    while under_way:
        yield _arrived(*under_way.popleft())


class _Pinned:
    """Page-locked host memory, used again once its last copy is done."""

    def __init__(self):
        self._memory = None
        self._done = None

    def copy(self, array: np.ndarray, device, stream):
        """The tensor on the device, and the event after which it holds the array."""
        import torch

        source = torch.from_numpy(np.ascontiguousarray(array))
        if self._done is not None:
            self._done.synchronize()
        if self._memory is None or self._memory.numel() < source.nbytes:
            self._memory = torch.empty(source.nbytes, dtype=torch.uint8, pin_memory=True)
        pinned = self._memory[: source.nbytes].view(source.dtype).view(source.shape)
        pinned.copy_(source)
        with torch.cuda.stream(stream):
            target = pinned.to(device, non_blocking=True)
            self._done = torch.cuda.Event()
            self._done.record(stream)
        return target, self._done


def _arrived(tensor, done):
    """The tensor, safe to use and to free on the current stream."""
    import torch

    current = torch.cuda.current_stream(tensor.device)
    current.wait_event(done)
    tensor.record_stream(current)
    return tensor
