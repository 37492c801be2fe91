"""Small batches of repeated shape use graphs with the same results; if capturing fails, graphs are turned off."""

import threading
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from ildfv.kernels.cuda import memory
from ildfv.streaming import graphs
from ildfv.streaming.graphs import Graphed


class Capture:
    """Replaces CUDA's capture: a replay computes from its own copy of the input into its own result."""

    def __init__(self):
        self.shapes = []

    def __call__(self, compute, images):
        given, result = images.clone(), compute(images)
        self.shapes.append(tuple(images.shape))

        def replay(images):
            given.copy_(images)
            result.copy_(compute(given))
            return result.clone()

        return replay


def images(b, seed=0):
    return torch.rand(b, 2, generator=torch.Generator().manual_seed(seed))


def test_repeated_shapes_use_a_graph_that_does_not_overwrite_results():
    calls, capture = [], Capture()
    network = Graphed(lambda x: (calls.append(len(x)), x * 2)[1], capture=capture)
    batches = [images(b, i) for i, b in enumerate([4] * 8 + [3, 4, 3])]
    results = [network(batch) for batch in batches]  # all results are kept, to detect overwriting
    assert all(torch.equal(result, 2 * batch) for result, batch in zip(results, batches, strict=True))
    assert capture.shapes == [(4, 2)]


def test_large_batches_and_further_shapes_use_no_graph():
    capture = Capture()
    network = Graphed(lambda x: x + 1, capture=capture)
    for b in (graphs.MAX_GRAPHED_SLICES + 1, 1, 2, 3):
        for _ in range(graphs.EAGER_CALLS + 2):
            assert torch.equal(network(images(b)), images(b) + 1)
    assert capture.shapes == [(1, 2), (2, 2)]


def test_a_failed_capture_turns_graphs_off_with_a_note():
    notes = []

    def capture(compute, images):
        raise RuntimeError("operation not permitted\nwhen stream is capturing")

    network = Graphed(lambda x: x + 1, capture=capture, note=notes.append)
    for _ in range(3 * graphs.EAGER_CALLS):
        assert torch.equal(network(images(2)), images(2) + 1)
    assert notes == ["CUDA graphs are not used: operation not permitted when stream is capturing"]


def test_graphs_can_be_turned_off(monkeypatch):
    monkeypatch.setenv("ILDFV_GRAPHS", "0")
    capture = Capture()
    network = Graphed(lambda x: x + 1, capture=capture)
    for _ in range(3 * graphs.EAGER_CALLS):
        network(images(2))
    assert capture.shapes == []


class FakeCuda:
    """The functions of torch.cuda that a capture uses. As in torch, if `capture_end` raises for an invalidated capture,
    allocation from its pool stays enabled, and the cache cannot be emptied until allocation is ended."""

    def __init__(self, monkeypatch):
        self.current = "main"  # stream
        self.pools, self.released, self.emptied = [], [], 0
        self.valid = True
        cuda = torch.cuda
        for name in ("current_stream", "Stream", "stream", "CUDAGraph", "synchronize", "empty_cache", "is_initialized"):
            monkeypatch.setattr(cuda, name, getattr(self, name))
        monkeypatch.setattr(cuda, "graph_pool_handle", lambda: (0, 7))
        monkeypatch.setattr(cuda, "current_device", lambda: 0)
        monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", self.end_allocation, raising=False)
        monkeypatch.setattr(torch._C, "_cuda_releasePool", lambda *place: self.released.append(place), raising=False)

    def current_stream(self, device=None):
        return SimpleNamespace(wait_stream=lambda other: None, name=self.current)

    def Stream(self, device=None):
        return SimpleNamespace(wait_stream=lambda other: None, name="side")

    @contextmanager
    def stream(self, stream):
        before, self.current = self.current, stream.name
        try:
            yield
        finally:
            self.current = before

    def CUDAGraph(self):
        return self

    def capture_begin(self, pool, capture_error_mode):
        assert (self.current, capture_error_mode) == ("side", "thread_local")
        self.pools.append((0, pool))

    def capture_end(self):
        assert self.current == "side"
        if not self.valid:
            raise RuntimeError("operation failed due to a previous error during capture")
        self.pools.clear()

    def replay(self):
        pass

    def end_allocation(self, device, pool):
        self.pools.remove((device, pool))

    def synchronize(self, device=None):
        pass

    def is_initialized(self):
        return True

    def empty_cache(self):
        assert not self.pools, "captures_underway.empty() INTERNAL ASSERT FAILED"
        self.emptied += 1


@pytest.fixture
def cuda(monkeypatch):
    return FakeCuda(monkeypatch)


@pytest.mark.parametrize("error", [RuntimeError("operation not permitted when stream is capturing"), ValueError("x")])
def test_a_failed_capture_leaves_stream_and_allocator_as_before(cuda, error):
    def compute(given):
        if cuda.pools:  # during the capture
            cuda.valid = isinstance(error, ValueError)  # only an error of CUDA invalidates the capture
            raise error
        return given + 1

    with pytest.raises(type(error), match=str(error)):
        graphs.captured(compute, images(2))
    assert cuda.current == "main"
    assert cuda.pools == []
    assert cuda.released == ([] if cuda.valid else [(0, (0, 7))])
    before = cuda.emptied
    memory.empty()
    assert cuda.emptied == before + 1


def test_a_capture_that_fails_at_its_end_leaves_the_allocator_as_before(cuda):
    def compute(given):
        cuda.valid = not cuda.pools  # the capture is invalidated without an exception
        return given + 1

    with pytest.raises(RuntimeError, match="previous error during capture"):
        graphs.captured(compute, images(2))
    assert (cuda.current, cuda.pools, cuda.released) == ("main", [], [(0, (0, 7))])


def test_pools_are_not_emptied_by_another_thread_during_a_capture(cuda):
    threads = []

    def compute(given):
        if cuda.pools:
            threads.append(threading.Thread(target=memory.empty))
            threads[0].start()
            threads[0].join(0.1)
            assert threads[0].is_alive()  # the thread waits for the end of the capture
        return given + 1

    replay = graphs.captured(compute, images(2))
    threads[0].join()
    assert torch.equal(replay(images(2)), images(2) + 1)
    assert cuda.emptied == 2  # once before the capture, once by the thread


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_after_a_failed_capture_on_a_gpu_pools_can_be_emptied_and_graphs_captured():
    def compute(given):
        torch.cuda.current_stream().synchronize()  # not permitted during a capture
        return given + 1

    given = torch.rand(2, 3, device="cuda:0")
    with pytest.raises(RuntimeError):
        graphs.captured(compute, given)
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    memory.empty()
    assert torch.equal(graphs.captured(lambda x: x * 2, given)(given), 2 * given)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_graph_on_a_gpu_gives_the_maps_of_the_network():
    from ildfv.train.activations import Activations
    from ildfv.train.networks import build

    activations = Activations(build().to("cuda:0"), "conv3")
    notes = []
    network = Graphed(activations, note=notes.append)
    with torch.cuda.stream(torch.cuda.Stream()):
        for seed in range(3 * graphs.EAGER_CALLS):
            given = torch.randint(0, 256, (8, 3, 224, 224), generator=torch.Generator().manual_seed(seed)).byte()
            torch.testing.assert_close(network(given.cuda()), activations(given.cuda()))
    assert notes == []
    assert len(network._replays) == 1
