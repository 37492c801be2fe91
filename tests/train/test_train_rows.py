"""In evaluation mode, layers give a slice the same bits in every batch."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ildfv.train.networks import build, register
from ildfv.train.rows import RowwiseLinear, SlicewiseConv2d, independent


@register("plain-linear")
def plain_linear(n_outputs):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 224 * 224, 2), RowwiseLinear(2, n_outputs)), {"first": "1"}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("outputs", [4, 512])
def test_a_row_has_equal_bits_in_every_batch(outputs, threads):
    torch.manual_seed(0)
    layer, x = RowwiseLinear(2304, outputs).eval(), torch.randn(100, 2304)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        expected = layer(x)
        for rows in (1, 3, 16, 31, 32, 33, 64):
            assert torch.equal(layer(x[:rows]), expected[:rows]), rows
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(expected, F.linear(x, layer.weight, layer.bias))


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="needs oneDNN")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("size", "channels"), [(1, 960), (3, 160)])
@torch.inference_mode()
def test_a_small_map_has_equal_bits_in_every_batch(size, channels, threads):
    torch.manual_seed(0)
    layer = SlicewiseConv2d(channels, 160, size, padding=size // 2).to(memory_format=torch.channels_last).eval()
    x = torch.randn(17, channels, 7, 7).to(memory_format=torch.channels_last)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        expected = layer(x)
        for slices in (1, 3, 16):
            assert torch.equal(layer(x[:slices]), expected[:slices]), slices
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(expected, F.conv2d(x, layer.weight, layer.bias, padding=size // 2))


@pytest.mark.parametrize("options", [{"padding": "same"}, {"padding": 1, "padding_mode": "reflect"}, {"groups": 4}])
def test_other_convolutions_are_those_of_torch(options):
    torch.manual_seed(0)
    layer, x = nn.Conv2d(4, 8, 3, **options).eval(), torch.randn(2, 4, 9, 9)
    expected = layer(x)
    layer.__class__ = SlicewiseConv2d
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), expected)
    layer(x).sum().backward()
    assert layer.weight.grad is not None


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rows", [0, 1, 16, 32, 33])
def test_training_mode_has_the_outputs_and_gradients_of_torch(rows, bias):
    generator = torch.Generator().manual_seed(0)
    ours, torchs = RowwiseLinear(2304, 64, bias=bias).train(), torch.nn.Linear(2304, 64, bias=bias)
    torchs.load_state_dict(ours.state_dict())
    x = torch.randn(rows, 2304, generator=generator)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    one, other = ours(a), torchs(b)
    assert one.is_contiguous()
    for z in (one, other):
        z.square().sum().backward()
    for found, expected in ((one, other), (a.grad, b.grad), (ours.weight.grad, torchs.weight.grad)):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)
    if bias:
        torch.testing.assert_close(ours.bias.grad, torchs.bias.grad, rtol=1e-4, atol=1e-3)


def test_gradients_pass_through_the_blocks():
    torch.manual_seed(0)
    layer, x = RowwiseLinear(5, 2).double().eval(), torch.randn(35, 5, dtype=torch.float64, requires_grad=True)
    layer(x).square().sum().backward()
    found, x.grad = x.grad, None
    F.linear(x, layer.weight, layer.bias).square().sum().backward()
    torch.testing.assert_close(found, x.grad)


@pytest.mark.parametrize("shape", [(0, 5), (5,), (2, 0, 5)])
def test_other_shapes_are_computed_as_by_torch(shape):
    layer, x = RowwiseLinear(5, 2).eval(), torch.randn(shape)
    assert torch.equal(layer(x), F.linear(x, layer.weight, layer.bias))


def test_layers_of_every_network_are_replaced_with_their_weights():
    network = build("plain-linear", seed=3)
    torch.manual_seed(3)
    expected = nn.Linear(3 * 224 * 224, 2)
    assert type(network.body[1]) is RowwiseLinear
    assert type(network.body[2]) is RowwiseLinear
    assert torch.equal(network.body[1].weight, expected.weight)
    multihead = build("cnnf-multihead").body
    assert all(isinstance(head, RowwiseLinear) for head in multihead.out.heads)
    assert isinstance(multihead.conv1, SlicewiseConv2d)


@pytest.mark.parametrize("threads", [1, 2])
def test_tokens_have_equal_bits_in_every_batch(threads):
    torch.manual_seed(0)
    layer, x = RowwiseLinear(192, 576).eval(), torch.randn(9, 197, 192)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        expected = layer(x)
        for slices in (1, 2, 5):
            assert torch.equal(layer(x[:slices]), expected[:slices])
        assert torch.equal(layer(x.transpose(0, 1)), expected.transpose(0, 1))
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(expected, F.linear(x, layer.weight, layer.bias))


class Doubled(nn.Conv2d):
    def forward(self, x):
        return 2 * super().forward(x)


def test_layers_are_replaced_and_subclasses_are_kept():
    shared, original = nn.Linear(3, 3), nn.Conv2d(1, 3, 1)
    body = nn.Sequential(original, Doubled(3, 3, 1), nn.ModuleList([shared, shared]))
    original.register_forward_hook(lambda module, inputs, output: output + 1)
    x = torch.randn(2, 1, 4, 4)
    expected = original(x)
    found = independent(body).eval()
    assert type(original) is nn.Conv2d  # the given layer is not changed
    assert [type(layer) for layer in found[:2]] == [SlicewiseConv2d, Doubled]
    assert found[2][0] is found[2][1]
    assert found[2][0].weight is shared.weight
    torch.testing.assert_close(found[0](x), expected)  # with the hook
    assert type(independent(nn.Linear(2, 2))) is RowwiseLinear
