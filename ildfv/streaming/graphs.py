"""A network's forward pass as a CUDA graph, where batches are small and alike: one launch instead of dozens."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable

import torch

MOST = 64  # slices: a larger batch keeps the device busy for longer than its launches take
SEEN = 3  # times a shape comes before it is worth a graph
SHAPES = 2  # graphs kept, each with the memory of a forward pass: whole batches, and one other size


class Graphed:
    """compute(images) → tensor: from a graph for shapes that repeat, else as it is; the results are the same.

    For networks whose weights stay where they are. ILDFV_GRAPHS=0 turns graphs off; where one cannot be captured they
    are off from then on, and `note` is told why.
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
        self._seen: Counter = Counter()
        self._replays: dict[tuple, Callable] = {}

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        kind = (*images.shape, images.dtype)
        if self.on and kind in self._replays:
            return self._replays[kind](images)
        self._seen[kind] += 1
        if not self.on or len(images) > MOST or self._seen[kind] <= SEEN or len(self._replays) == SHAPES:
            return self.compute(images)
        try:
            self._replays[kind] = self.capture(self.compute, images)
        except RuntimeError as error:  # what a network does may not be allowed in a graph, or memory is full
            self.on = False
            self._replays.clear()
            self.note(f"without CUDA graphs: {' '.join(str(error).split())[:200]}")
            return self.compute(images)
        return self._replays[kind](images)


def captured(compute: Callable, images: torch.Tensor) -> Callable:
    """compute as a graph for images of this shape, on the current stream. RuntimeError where that cannot be."""
    given = images.clone()
    before = torch.cuda.current_stream(images.device)
    apart = torch.cuda.Stream(images.device)
    apart.wait_stream(before)
    with torch.cuda.stream(apart):
        compute(given)  # libraries choose their algorithms and take their memory now
    before.wait_stream(apart)
    graph = torch.cuda.CUDAGraph()
    # thread_local: other threads may go on allocating and waiting while this one captures.
    with torch.cuda.graph(graph, stream=apart, capture_error_mode="thread_local"):
        result = compute(given)
    before.wait_stream(apart)

    def replay(images: torch.Tensor) -> torch.Tensor:
        given.copy_(images)
        graph.replay()
        return result.clone()  # the next replay writes over it

    return replay
