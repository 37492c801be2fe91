"""Batches that fit a device's memory: how many items fit, and a retry in halves where memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ildfv.kernels.cuda import memory

SHARE = 0.6  # of free memory a batch may take: the pools of torch and of other processes keep the rest


def batch_size(bytes_of_an_item: int, device, *, most: int = 256) -> int:
    """How many items of `bytes_of_an_item`, all they need while computed, fit in the device's free memory; ≥ 1, ≤ most.

    device: "cuda:i" or a torch.device. What pools keep for later arrays counts as free.
    """
    return max(1, min(most, int(memory.free(device) * SHARE) // max(1, bytes_of_an_item)))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` is a device's way to say that its memory is full: torch's, CuPy's, or CUDA's own."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return "OutOfMemoryError" in names or (isinstance(error, RuntimeError) and "out of memory" in str(error))


class OomRetry:
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
                memory.empty()
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
