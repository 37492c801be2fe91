"""ReLU, normalisation and pooling in a single pass equal the three layers, and so do the gradients."""

import pytest
import torch
from torch import nn

from ildfv.train import networks
from ildfv.train.pooled import _fits, in_sequence
from ildfv.train.response import LocalResponseNorm


def layers(*, ceil: bool, padding: int = 0) -> nn.Sequential:
    return nn.Sequential(nn.ReLU(), LocalResponseNorm(), nn.MaxPool2d(3, 2, padding, ceil_mode=ceil))


def drawn(shape, dtype=torch.float32):
    """Maps of which a part is constant, so that windows have several maxima."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 100
    x[..., : shape[3] // 2] = x[:, :, :1, :1]
    return x.to(dtype).contiguous(memory_format=torch.channels_last)


def results(run, x):
    """The pooled x and the gradient of a loss."""
    x = x.clone().requires_grad_()
    z = run(x)
    z.double().mul(0.01).sin().sum().backward()
    return z.detach(), x.grad


@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("shape", [(2, 64, 54, 54), (3, 37, 7, 10), (1, 1, 3, 3), (2, 5, 3, 4), (2, 8, 6, 27)])
def test_a_single_pass_has_the_bits_of_the_layers(shape, ceil):
    x, body = drawn(shape), layers(ceil=ceil)
    assert _fits(list(body), x)
    for one, other in zip(results(in_sequence(body), x), results(body, x), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("ceil", [False, True])
def test_a_single_pass_in_bfloat16_equals_float32(ceil):
    x, body = drawn((2, 64, 9, 8), torch.bfloat16), layers(ceil=ceil)
    assert _fits(list(body), x)
    for one, other in zip(results(in_sequence(body), x), results(body, x.float()), strict=True):
        torch.testing.assert_close(one.float(), other, rtol=2**-7, atol=2**-7 * other.abs().max().item())


def test_the_number_of_threads_does_not_change_the_bits():
    x, before, found = drawn((2, 64, 9, 8)), torch.get_num_threads(), []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        found.append(results(in_sequence(layers(ceil=True)), x))
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_not_a_number_stays_not_a_number(dtype):
    x = torch.zeros((1, 16, 5, 5), dtype=dtype).contiguous(memory_format=torch.channels_last)
    x[0, :, 1, 1] = float("nan")
    z = in_sequence(layers(ceil=False))(x)
    assert z[0, :, 0, 0].isnan().all()
    assert not z[0, :, 1, 1].isnan().any()


def test_other_layers_and_layouts_are_evaluated_one_by_one():
    x = drawn((2, 8, 9, 9))
    padded = layers(ceil=False, padding=1)
    assert torch.equal(in_sequence(padded)(x), padded(x))
    assert not _fits(list(padded), x)
    assert not _fits(list(layers(ceil=False)), x.contiguous())
    assert not _fits(list(layers(ceil=False))[1:], x)


def test_hooks_are_called():
    body, seen = layers(ceil=False), []
    body[0].register_forward_hook(lambda *given: seen.append(given[2].shape))
    in_sequence(body)(drawn((2, 8, 9, 9)))
    assert seen == [(2, 8, 9, 9)]


def test_lower_layers_of_a_divided_network_have_the_bits_of_the_network():
    network = networks.build("cnnf").train()
    images = torch.randint(0, 256, (2, 3, 224, 224), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    lower, upper = network.divided()
    features = network.body[: -len(upper)](network.normalised(images))
    assert torch.equal(lower(images), features)
