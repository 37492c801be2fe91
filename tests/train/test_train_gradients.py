"""Gradients of shards add up to those of the whole step."""

import numpy as np
import pytest
import torch
from torch import nn

from ildfv.errors import InputError
from ildfv.train.gradients import Gradients
from ildfv.train.settings import TrainSettings

ROWS = 7


def network():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(4 * 36, 5), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Linear(5, 2)).double()


def loss(net, x):
    return (net(x) ** 2).sum() / ROWS


@pytest.mark.parametrize("shards", [1, 2, 3, ROWS + 2])
def test_shards_have_the_gradients_of_the_whole(shards):
    x = torch.randn(ROWS, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    whole, net = network(), network()
    loss(whole, x).backward()
    with Gradients(net.parameters()) as gradients:
        for places in np.array_split(np.arange(ROWS), shards):
            loss(net, x[places]).backward()
            gradients.take()
    for ours, theirs in zip(net.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("parts", [1, 2, 3, 5])
def test_the_gradient_is_the_float64_sum_rounded_once(parts):
    parameter = nn.Parameter(torch.zeros(1000))
    summands = torch.randn(parts, 1000, generator=torch.Generator().manual_seed(1)) * torch.logspace(-6, 6, 1000)
    with Gradients([parameter]) as gradients:
        for summand in summands:
            parameter.grad = summand.clone()
            gradients.take()
    assert torch.equal(parameter.grad, sum(summands.double()).float())


def test_frozen_parameters_have_no_gradients():
    net = network()
    net[0].weight.requires_grad_(False)
    with Gradients(net.parameters()) as gradients:
        loss(net, torch.ones(ROWS, 3, 8, 8, dtype=torch.float64)).backward()
        gradients.take()
    assert net[0].weight.grad is None
    assert net[0].bias.grad is not None


def test_a_step_needs_at_least_one_shard():
    with pytest.raises(InputError, match="shards must be at least 1, got 0"):
        TrainSettings(shards=0)
