"""Batch sizes that fit in a device's memory, and retries with half the size when memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ildfv.arrays import namespace
from ildfv.kernels.cuda import memory

MEMORY_SHARE = 0.6  # fraction of the free memory for a batch; the rest is for fragmentation and other processes


def batch_size(bytes_of_an_item: int, device, *, maximum: int = 256) -> int:
    """The number of items whose computation fits in the device's free memory, between 1 and `maximum`.

    bytes_of_an_item: peak memory of one item. device: "cuda:i" or a torch.device. Memory that pools hold but no array
    uses counts as free.
    """
    return max(1, min(maximum, int(memory.free(device) * MEMORY_SHARE) // max(1, bytes_of_an_item)))


# Texts of RuntimeErrors of torch that mean out of memory. If its workspace does not fit in memory, cuDNN reports that
# it cannot find an engine.
SIGNS = (
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "unable to find an engine",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` is an out-of-memory error of torch, CuPy or CUDA."""
    names = {kind.__name__ for kind in type(error).__mro__}
    text = str(error).lower()
    return "OutOfMemoryError" in names or (
        isinstance(error, RuntimeError) and any(sign.lower() in text for sign in SIGNS)
    )


def with_emptied_pools(compute: Callable) -> Any:
    """The result of compute(), for work that cannot be divided. If memory runs out, `compute` is called a second time.

    Before the second call, all memory pools are emptied, because the pool of another library may hold free memory.
    """
    try:
        return compute()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    memory.empty()  # outside the except clause: the exception's traceback keeps memory alive
    return compute()


class OomRetry:
    """Callable: items → the results of compute(part) for consecutive parts of the items, in order.

    The first part has all items. If memory runs out, the part size is halved, `note` is called, and the part is
    retried. Later parts keep the reduced size. A failed call of `compute` must leave no effects. If a part of one item
    does not fit in memory, the error is raised.
    """

    def __init__(self, compute: Callable, *, note: Callable[[str], None] = lambda text: None, size: int | None = None):
        self.compute, self.note = compute, note
        self.size = size  # items per part; None: all

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
            if full:  # outside the except clause: the exception's traceback keeps the memory alive
                self.size = -(-len(part) // 2)
                memory.empty()
                self.note(f"out of device memory: batch size reduced to {self.size}")
                continue
            results.append(result)
            start += len(part)
        return results

    def joined(self, items: Sequence):
        """The results, concatenated into one array or tensor."""
        results = self(items)
        if len(results) == 1:
            return results[0]
        if type(results[0]).__module__.partition(".")[0] == "torch":
            import torch

            return torch.cat(results)
        return namespace(*results).concat(results)
