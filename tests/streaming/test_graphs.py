"""Small batches of repeated shape use graphs with the same results; if capturing fails, graphs are turned off."""

import pytest
import torch

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
    results = [network(batch) for batch in batches]  # keeps all results, to detect overwriting
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
    assert notes == ["CUDA graphs are off: operation not permitted when stream is capturing"]


def test_graphs_can_be_turned_off(monkeypatch):
    monkeypatch.setenv("ILDFV_GRAPHS", "0")
    capture = Capture()
    network = Graphed(lambda x: x + 1, capture=capture)
    for _ in range(3 * graphs.EAGER_CALLS):
        network(images(2))
    assert capture.shapes == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_real_graph_gives_the_maps_of_the_network():
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
