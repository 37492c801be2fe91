"""Local response normalisation equals torch's, by convolution and in one pass, and so do its gradients."""

import pytest
import torch
from torch import nn

from ildfv.train.response import LocalResponseNorm, in_one_pass


def drawn(dtype, shape=(2, 37, 5, 3)):
    return (torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 100).to(dtype)


def results(norm, x):
    """The normalised x and the gradient of a loss, float64."""
    x = x.clone().requires_grad_()
    z = norm(x)
    z.double().mul(0.01).sin().sum().backward()
    return z.detach().double(), x.grad.double()


def test_convolution_equals_torchs_normalisation():
    ours, torchs = LocalResponseNorm(), nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)
    x = torch.randn(2, 9, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 100
    torch.testing.assert_close(ours(x), torchs(x), rtol=1e-12, atol=0)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    ours(a).sin().sum().backward()
    torchs(b).sin().sum().backward()
    torch.testing.assert_close(a.grad, b.grad, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.bfloat16, 2**-7)])
@pytest.mark.parametrize("channels", [1, 4, 64])
def test_one_pass_equals_float64(dtype, tolerance, channels):
    x = drawn(dtype, (2, channels, 5, 3)).contiguous(memory_format=torch.channels_last)
    assert in_one_pass(x)
    ours, exact = results(LocalResponseNorm(), x), results(LocalResponseNorm(), x.double().contiguous())
    for one, other in zip(ours, exact, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance * other.abs().max().item())


def test_the_number_of_threads_does_not_change_the_bits():
    x, before, found = drawn(torch.float32).contiguous(memory_format=torch.channels_last), torch.get_num_threads(), []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        found.append(results(LocalResponseNorm(), x))
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_not_a_number_stays_not_a_number(dtype):
    x = torch.full((1, 5, 1, 1), float("nan"), dtype=dtype).contiguous(memory_format=torch.channels_last)
    assert LocalResponseNorm()(x).isnan().all()


def test_empty_maps_are_accepted():
    x = torch.empty(0, 5, 2, 2).contiguous(memory_format=torch.channels_last)
    assert LocalResponseNorm()(x).shape == (0, 5, 2, 2)
