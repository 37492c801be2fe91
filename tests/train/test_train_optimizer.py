"""Learning rates rise to their peak and fall to 0 for any number of steps, and decay towards the input."""

from collections import OrderedDict
from importlib.util import find_spec

import pytest
import torch
from safetensors.numpy import save_file
from torch import nn
from train_support import MemorySlices

from ildfv.errors import InputError
from ildfv.train import networks
from ildfv.train.optimizer import MIN_WARM_UP, make_optimizer, rate
from ildfv.train.settings import TrainSettings
from ildfv.train.trainer import train

SETTINGS = TrainSettings(learning_rate=0.5, warm_up=0.1)


def rates(steps: int, settings: TrainSettings = SETTINGS) -> list[float]:
    return [rate(settings, step, steps) for step in range(steps)]


@pytest.mark.parametrize("steps", [1, 2, 6, 20, 100, 1000])
def test_rates_rise_and_fall_within_the_peak(steps):
    found = rates(steps)
    top = found.index(max(found))
    assert found[: top + 1] == sorted(found[: top + 1])
    assert found[top:] == sorted(found[top:], reverse=True)
    assert min(found) > 0
    assert max(found) <= 0.5
    assert top < max(1, steps / 2)


@pytest.mark.parametrize(
    ("steps", "warm"), [(1, 1), (6, 3), (18, 9), (40, MIN_WARM_UP), (100, MIN_WARM_UP), (1000, 100)]
)
def test_the_warm_up_has_its_share_of_steps_and_a_minimum(steps, warm):
    assert rates(steps)[0] == pytest.approx(0.5 / warm)


def scales(network, decay):
    """The factor of the learning rate of each parameter, by name."""
    settings = TrainSettings(layer_decay=decay, weights="w.safetensors")
    groups = make_optimizer(settings, network).param_groups
    of = {parameter: group["scale"] for group in groups for parameter in group["params"]}
    return {name: of[parameter] for name, parameter in network.named_parameters()}


def test_rates_decay_from_the_output_to_the_input():
    found = scales(networks.build("cnnf"), 0.5)
    order = ("out", "fc7", "fc6", "conv5", "conv4", "conv3", "conv2", "conv1")
    for i, layer in enumerate(order):
        assert found[f"body.{layer}.weight"] == found[f"body.{layer}.bias"] == 0.5**i


def test_the_heads_of_the_patterns_are_one_layer():
    found = scales(networks.build("cnnf-multihead"), 0.5)
    assert {value for name, value in found.items() if ".out." in name} == {1.0}
    assert found["body.fc7.weight"] == 0.5


def test_normalisations_belong_to_the_layer_before_them_and_blocks_are_layers():
    def block(width):
        return nn.Sequential(OrderedDict(conv=nn.Conv2d(width, 4, 3), norm=nn.BatchNorm2d(4)))

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Sequential(block(4), block(4))

    body = nn.Sequential(OrderedDict(stem=block(3), stages=nn.ModuleList([Block(), Block()]), out=nn.Linear(4, 2)))
    body.register_parameter("position", nn.Parameter(torch.zeros(1, 4)))
    found = scales(body, 0.5)
    assert {name.split(".")[0]: value for name, value in found.items() if "stages" not in name} == {
        "position": 0.125,
        "stem": 0.125,
        "out": 1.0,
    }
    assert {value for name, value in found.items() if name.startswith("stages.0.")} == {0.25}
    assert {value for name, value in found.items() if name.startswith("stages.1.")} == {0.5}


@pytest.mark.skipif(find_spec("torchvision") is None, reason="torchvision is optional")
def test_layers_of_a_residual_network_are_its_blocks():
    found = scales(networks.build("torchvision:resnet18"), 0.5)
    assert found["body.fc.weight"] == 1
    assert found["body.layer4.1.conv2.weight"] == found["body.layer4.1.bn1.bias"] == 0.5
    assert found["body.conv1.weight"] == found["body.bn1.weight"] == 0.5**9


def test_without_decay_there_are_two_groups_with_equal_rates():
    network = networks.build("cnnf")
    groups = make_optimizer(TrainSettings(), network).param_groups
    assert [(group["scale"], group["weight_decay"]) for group in groups] == [(1.0, 5e-4), (1.0, 0.0)]
    for group, many in zip(groups, (True, False), strict=True):
        assert [id(p) for p in group["params"]] == [id(p) for p in network.parameters() if (p.ndim > 1) == many]


def test_a_step_uses_the_rate_of_each_group(tmp_path):
    save_file(networks.tensors(networks.build("tiny", seed=3)), tmp_path / "w.safetensors")
    found = {}
    for decay in (1.0, 0.5):
        settings = TrainSettings(
            network="tiny", epochs=1, batch_size=40, optimizer="sgd", weights=str(tmp_path / "w.safetensors"),
            layer_decay=decay, weight_decay=0.0,
        )  # fmt: skip
        result = train(settings, MemorySlices(), range(40), range(40, 50), tmp_path / str(decay))
        start = networks.build("tiny", seed=3).state_dict()
        found[decay] = {k: v - start[k] for k, v in result.network.state_dict().items()}
    for layer, factor in (("out", 1.0), ("conv2", 0.5), ("conv1", 0.25)):
        full, decayed = (found[d][f"body.{layer}.weight"] for d in (1.0, 0.5))
        torch.testing.assert_close(decayed, full * factor, rtol=1e-3, atol=1e-7)


def test_decay_is_recorded_only_if_given():
    assert "layer_decay" not in TrainSettings(weights="w").recorded()
    assert TrainSettings(weights="w", layer_decay=0.8).recorded()["layer_decay"] == 0.8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer_decay": 0.8}, "layer_decay must be 1 for random initial weights, got 0.8: give --weights"),
        ({"layer_decay": 0.0, "weights": "w"}, "layer_decay must be above 0 and at most 1, got 0"),
        ({"layer_decay": 1.5, "weights": "w"}, "layer_decay must be above 0 and at most 1, got 1.5"),
    ],
)
def test_a_decay_without_meaning_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        TrainSettings(**options)
