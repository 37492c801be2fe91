"""CUDA graphs for a network's forward pass: small batches of equal shape need one launch instead of dozens."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable

import torch

from ildfv.kernels.cuda import memory

MAX_GRAPHED_SLICES = 64  # for larger batches, launches take less time than the computation
EAGER_CALLS = 3  # calls per shape before a graph is captured
MAX_GRAPHS = 2  # one for full batches, one for another size; each holds the memory of a forward pass


class Graphed:
    """Callable: images → compute(images), replayed from a CUDA graph for shapes that repeat, with the same results.

    The addresses of the network's weights must not change. ILDFV_GRAPHS=0 turns graphs off. If a capture fails, graphs
    are turned off, and `note` is called with the reason.
    """

    def __init__(
        self,
        compute: Callable[[torch.Tensor], torch.Tensor],
        *,
        note: Callable[[str], None] = lambda text: None,
        capture: Callable | None = None,
    ):
        self.compute, self.note, self.capture = compute, note, capture or captured
        self.on = os.environ.get("ILDFV_GRAPHS", "1") != "0"
        self._calls: Counter = Counter()
        self._replays: dict[tuple, Callable] = {}

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        kind = (*images.shape, images.dtype)
        if self.on and kind in self._replays:
            return self._replays[kind](images)
        self._calls[kind] += 1
        small = len(images) <= MAX_GRAPHED_SLICES
        if not (self.on and small and self._calls[kind] > EAGER_CALLS and len(self._replays) < MAX_GRAPHS):
            return self.compute(images)
        try:
            self._replays[kind] = self.capture(self.compute, images)
        except RuntimeError as error:  # an operation that a graph cannot contain, or out of memory
            self.on = False
            self._replays.clear()
            self.note(f"CUDA graphs are not used: {' '.join(str(error).split())[:200]}")
            return self.compute(images)
        return self._replays[kind](images)


def captured(compute: Callable, images: torch.Tensor) -> Callable:
    """A function that replays compute(images) from a CUDA graph, for images of this shape, on the current stream.

    RuntimeError: the computation cannot be captured.
    """
    static_input = images.clone()  # the graph reads its input from this memory
    current = torch.cuda.current_stream(images.device)
    side = torch.cuda.Stream(images.device)
    side.wait_stream(current)
    with torch.cuda.stream(side):
        compute(static_input)  # warm-up: libraries must choose algorithms and allocate memory before the capture
    current.wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with memory.emptying, torch.cuda.stream(side):  # torch.cuda.graph would not restore the stream after a failure
        torch.cuda.synchronize(images.device)
        torch.cuda.empty_cache()
        result = _recorded(graph, lambda: compute(static_input), images.device)
    current.wait_stream(side)

    def replay(images: torch.Tensor) -> torch.Tensor:
        static_input.copy_(images)
        graph.replay()
        return result.clone()  # the next replay overwrites `result`

    return replay


def _recorded(graph: torch.cuda.CUDAGraph, compute: Callable[[], torch.Tensor], device: torch.device) -> torch.Tensor:
    """The result of compute(), recorded in the graph on the current stream. If it fails, the allocator is restored."""
    pool = torch.cuda.graph_pool_handle()
    # thread_local: other threads may allocate and synchronise while this one captures.
    graph.capture_begin(pool=pool, capture_error_mode="thread_local")
    try:
        result = compute()
    except BaseException:
        _end_failed_capture(graph, device, pool)
        raise
    try:
        graph.capture_end()
    except RuntimeError:
        _end_allocation(device, pool)
        raise
    return result


def _end_failed_capture(graph: torch.cuda.CUDAGraph, device: torch.device, pool: tuple[int, int]) -> None:
    """Ends a capture whose computation has failed."""
    try:
        graph.capture_end()
    except RuntimeError:  # the failed operation has invalidated the capture; its own error is raised by the caller
        _end_allocation(device, pool)


def _end_allocation(device: torch.device, pool: tuple[int, int]) -> None:
    """Ends allocation from the pool of an invalidated capture. torch's `capture_end` does not do this.

    Otherwise every later `torch.cuda.empty_cache()` of the process would fail. torch has no public function for this.
    """
    index = torch.cuda.current_device() if device.index is None else device.index
    torch._C._cuda_endAllocateToPool(index, pool)
    torch._C._cuda_releasePool(index, pool)
