"""CUDA graphs for a network's forward pass: small batches of equal shape take one launch instead of dozens."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable

import torch

MAX_GRAPHED_SLICES = 64  # larger batches compute for longer than their launches take
EAGER_CALLS = 3  # of a shape, before a graph is worth its capture
MAX_GRAPHS = 2  # each keeps the memory of a forward pass: one for full batches, one for another size


class Graphed:
    """compute(images) → tensor, replayed from a CUDA graph for shapes that repeat, with the same results.

    The weights must stay at their addresses. ILDFV_GRAPHS=0 turns graphs off. If a capture fails, graphs are turned off
    and `note` is called with the reason.
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
            self.note(f"CUDA graphs are off: {' '.join(str(error).split())[:200]}")
            return self.compute(images)
        return self._replays[kind](images)


def captured(compute: Callable, images: torch.Tensor) -> Callable:
    """compute as a graph for images of this shape, on the current stream. RuntimeError where capturing fails."""
    given = images.clone()
    current = torch.cuda.current_stream(images.device)
    side = torch.cuda.Stream(images.device)
    side.wait_stream(current)
    with torch.cuda.stream(side):
        compute(given)  # warm-up: libraries choose algorithms and allocate before the capture
    current.wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    # thread_local: other threads may allocate and synchronise while this one captures.
    with torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):
        result = compute(given)
    current.wait_stream(side)

    def replay(images: torch.Tensor) -> torch.Tensor:
        given.copy_(images)
        graph.replay()
        return result.clone()  # the next replay overwrites it

    return replay
