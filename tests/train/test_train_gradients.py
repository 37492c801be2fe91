"""Gradients of shards add up to those of the whole step, with and without deferred weight gradients."""

import numpy as np
import pytest
import torch
from torch import nn

from ildfv.errors import InputError
from ildfv.train.blocks import Linear
from ildfv.train.data import Batch
from ildfv.train.gradients import Gradients
from ildfv.train.settings import TrainSettings

ROWS = 7


def network():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), Linear(4 * 36, 5), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Linear(5, 3), Linear(3, 2)).double()


def step(shards):
    cuts = np.array_split(np.arange(ROWS), shards)
    places = [range(cut[0], cut[-1] + 1) for cut in cuts if len(cut)]
    return Batch(np.empty(0), np.arange(ROWS), np.arange(ROWS), ROWS, places)


def loss(net, x):
    return (net(x) ** 2).sum() / ROWS


@pytest.mark.parametrize("wait", [True, False])
@pytest.mark.parametrize("shards", [1, 2, 3, ROWS + 2])
def test_shards_have_the_gradients_of_the_whole(shards, wait):
    x = torch.randn(ROWS, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    whole, net, batch = network(), network(), step(shards)
    loss(whole, x).backward()
    with Gradients(net, batch, wait=wait) as gradients:
        for shard in batch.shards:
            loss(net, x[shard.start : shard.stop]).backward()
            gradients.take()
    for ours, theirs in zip(net.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-12, atol=1e-14)


def test_after_an_error_layers_compute_their_gradients_again():
    net, batch = network(), step(2)
    with pytest.raises(RuntimeError, match="shapes"), Gradients(net, batch):
        loss(net, torch.ones(ROWS, 3, 9, 9, dtype=torch.float64))  # too large for the first full layer
    assert net[3].weight.grad is None
    loss(net, torch.ones(ROWS, 3, 8, 8, dtype=torch.float64)).backward()
    assert net[3].weight.grad.abs().sum() > 0


def test_a_step_needs_at_least_one_shard():
    with pytest.raises(InputError, match="shards must be at least 1, got 0"):
        TrainSettings(shards=0)


def test_a_layer_used_twice_is_refused():
    net, batch = network(), step(2)
    net.append(net[6])
    net[6].in_features, net[6].weight = 2, nn.Parameter(torch.eye(2, dtype=torch.float64))
    net[5] = nn.Linear(5, 2).double()
    with (
        pytest.raises(
            InputError, match=r"a Linear layer must be applied once per pass, to input of shape \(b, d\), got"
        ),
        Gradients(net, batch),
    ):
        loss(net, torch.ones(ROWS, 3, 8, 8, dtype=torch.float64)).backward()


def test_a_layer_with_a_frozen_bias_learns_from_images():
    whole, net = (nn.Sequential(Linear(4, 2)).double() for _ in range(2))
    whole.load_state_dict(net.state_dict())
    x, batch = torch.randn(ROWS, 4, dtype=torch.float64), step(1)
    for one in (whole, net):
        one[0].bias.requires_grad_(False)
    loss(whole, x).backward()
    with Gradients(net, batch) as gradients:
        loss(net, x).backward()
        gradients.take()
    torch.testing.assert_close(net[0].weight.grad, whole[0].weight.grad)
