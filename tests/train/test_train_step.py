"""On out-of-memory, a step computes its shards in smaller parts, with the same result."""

import numpy as np
import pytest
import torch
from torch import nn
from train_support import MemorySlices, tiny

from ildfv.streaming.feeding import feed
from ildfv.train import networks
from ildfv.train.data import Epoch
from ildfv.train.optimizer import make_optimizer
from ildfv.train.settings import TrainSettings
from ildfv.train.step import Step

CPU = torch.device("cpu")


class Wrapped(nn.Module):
    """A body that is no sequence."""

    def __init__(self, layers: nn.Sequential):
        super().__init__()
        self.layers = layers

    def forward(self, x):
        return self.layers(x)


@networks.register("undivided")
def undivided(n_outputs):
    body, layers = tiny(n_outputs)
    return Wrapped(body), {name: f"layers.{path}" for name, path in layers.items()}


@networks.register("normed")
def normed(n_outputs):
    body, layers = tiny(n_outputs)
    body.conv1 = nn.Sequential(body.conv1, nn.BatchNorm2d(8))
    return body, layers


@networks.register("normed-undivided")
def normed_undivided(n_outputs):
    body, layers = normed(n_outputs)
    return Wrapped(body), {name: f"layers.{path}" for name, path in layers.items()}


def full_above(fits: int, direction: str):
    """A hook of a layer: more than `fits` slices at once run out of memory in this direction."""

    def full(x: torch.Tensor) -> None:
        if len(x) > fits:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    def hook(module, inputs, output):
        if direction == "forward":
            full(output)
        elif output.requires_grad:
            output.register_hook(full)

    return hook


def learned(
    name: str = "tiny", fits: int | None = None, direction: str = "forward", shards: int = 2, seed: int = 0
) -> tuple[dict[str, np.ndarray], list[float], list[str]]:
    """Weights, losses and notes of three steps of 16 slices; more than `fits` slices at once run out of memory."""
    network = networks.build(name, seed=0).train()
    notes: list[str] = []
    if fits is not None:
        network.get_submodule(f"body.{network.layers['conv1']}").register_forward_hook(full_above(fits, direction))

    def loss(f: torch.Tensor, indices: np.ndarray) -> torch.Tensor:
        return ((f - torch.from_numpy(indices).float()[:, None] / 50) ** 2).sum(dim=1)

    settings = TrainSettings(optimizer="sgd")
    step = Step(network, make_optimizer(settings, network), loss, CPU, note=notes.append)
    epoch = Epoch(MemorySlices(), np.arange(48), 16, 0, 0, shards=shards)
    steps = enumerate(feed(epoch, CPU))
    losses = [float(step(batch, images, seed + number, 0.01)) for number, (batch, images) in steps]
    return networks.tensors(network), losses, notes


@pytest.mark.parametrize("name", ["tiny", "undivided"])
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_out_of_memory_halves_the_parts_with_the_same_result(name, direction):
    whole, losses, _ = learned(name)
    halves, same, notes = learned(name, 3, direction)
    assert notes == [f"out of device memory: batch size reduced to {n}" for n in (4, 2)]  # once: later steps keep it
    np.testing.assert_allclose(same, losses, rtol=1e-6)
    for key, value in whole.items():
        np.testing.assert_allclose(halves[key], value, rtol=1e-5, atol=1e-7, err_msg=key)


@pytest.mark.parametrize("name", ["tiny", "undivided"])
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_out_of_memory_for_a_single_slice_is_an_error(name, direction):
    with pytest.raises(torch.cuda.OutOfMemoryError):
        learned(name, 0, direction)


def test_both_ways_of_evaluation_learn_the_same():
    divided, losses, _ = learned("tiny")
    whole, same, _ = learned("undivided")
    np.testing.assert_allclose(same, losses, rtol=1e-6)
    for key, value in divided.items():
        np.testing.assert_allclose(
            whole[key.replace("body.", "body.layers.")], value, rtol=1e-5, atol=1e-7, err_msg=key
        )


@pytest.mark.parametrize("name", ["normed", "normed-undivided"])
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_running_statistics_are_those_of_the_first_shard_without_failed_parts(name, direction):
    whole, _, _ = learned(name)
    parts, _, notes = learned(name, 4, direction)
    assert len(notes) == 1
    (key,) = (key for key in whole if key.endswith("num_batches_tracked"))
    assert whole[key] == 3  # steps
    # Two parts per step, except that a divided network gets its statistics before the backward pass, which fails first.
    assert parts[key] == 6 - (name == "normed" and direction == "backward")


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("tiny", "out"),
        ("cnnf", "fc6"),
        ("cnnf-multihead", "fc6"),
        ("vgg19", "fc6"),
        ("patch", "fc4"),
        ("undivided", None),
    ],
)
def test_a_network_is_divided_below_its_fully_connected_layers(name, first):
    with torch.device("meta"):
        network = networks.build(name)
    divided = network.divided()
    assert (divided and next(divided[1].named_children())[0]) == first


def test_the_parts_of_a_network_are_the_network():
    network = networks.build("cnnf").eval()
    lower, upper = network.divided()
    images = torch.randint(0, 256, (2, 3, 224, 224), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(upper(lower(images)), network(images))


def test_frozen_lower_layers_stay_as_they_are():
    network = networks.build("tiny", seed=0).train()
    for layer in (network.body.conv1, network.body.conv2):
        layer.requires_grad_(False)
    before = {key: value.copy() for key, value in networks.tensors(network).items()}
    step = Step(network, make_optimizer(TrainSettings(), network), lambda f, _: f.square().sum(dim=1), CPU)
    for batch, images in feed(Epoch(MemorySlices(), np.arange(48), 16, 0, 0, shards=2), CPU):
        step(batch, images, 0, 0.01)
    after = networks.tensors(network)
    changed = {key for key, value in after.items() if not np.array_equal(value, before[key])}
    assert changed == {"body.out.weight", "body.out.bias"}


def test_the_number_of_shards_does_not_change_the_result():
    whole, losses, _ = learned(shards=1)
    for shards in (2, 5, 20):  # with 20 shards some are empty
        weights, same, _ = learned(shards=shards)
        np.testing.assert_allclose(same, losses, rtol=1e-6)
        for name, value in whole.items():
            np.testing.assert_allclose(weights[name], value, rtol=1e-5, atol=1e-7, err_msg=name)


def test_any_seed_is_accepted():
    assert np.isfinite(learned(seed=2**31 * 1_000_003)[1]).all()
