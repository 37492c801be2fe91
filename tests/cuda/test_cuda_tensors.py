"""torch tensors as input and output, on the CPU with the emulated kernels."""

import numpy as np
import pytest
from emulation import EmulatedTorchDevice
from problems import bfloat16_bits, channel_first, descriptors, distances, from_bits, mixture

from ildfv.errors import InputError
from ildfv.kernels import reference
from ildfv.kernels.cuda import launches, moments

torch = pytest.importorskip("torch")


@pytest.fixture
def device(library):
    return EmulatedTorchDevice(library)


def agree(device, maps, like, parameters, *, pooled=False, dtype=torch.float32):
    result = moments.compute(device, maps, *parameters, threshold=1e-6, pooled=pooled)
    expected = reference.moments(like, *parameters, pooled=pooled)
    assert [tuple(a.shape) for a in result] == [np.shape(e) for e in expected]
    assert {a.dtype for a in result} == {torch.float64 if pooled else dtype}
    assert max(distances([a.numpy() for a in result], expected)) < 1e-5


@pytest.mark.parametrize("n", [1, 84, 600])
@pytest.mark.parametrize("pooled", [False, True])
def test_any_layout_agrees(device, rng, n, pooled):
    parameters = mixture(rng, 7, 12)
    x = descriptors(rng, parameters, 3, n)
    maps = channel_first(x, min(n, 12))
    agree(device, torch.from_numpy(x), x, parameters, pooled=pooled)
    agree(device, torch.from_numpy(maps), x, parameters, pooled=pooled)
    agree(device, torch.from_numpy(maps).to(memory_format=torch.channels_last), x, parameters, pooled=pooled)
    agree(device, [torch.from_numpy(a) for a in x], x, parameters, pooled=pooled)


def test_maps_with_swapped_pixel_strides_agree(device, rng):
    parameters = mixture(rng, 7, 12)
    x = descriptors(rng, parameters, 3, 84)
    turned = torch.from_numpy(channel_first(x, 12)).transpose(2, 3).contiguous().transpose(2, 3)
    assert not turned.is_contiguous()
    agree(device, turned, x, parameters)


@pytest.mark.parametrize("element", ["float64", "float16", "bfloat16", "uint8"])
def test_every_element_agrees(device, rng, element):
    weights, means, variances = mixture(rng, 5, 9)
    parameters = weights, means * 30 + 128, variances * 900
    x = from_bits(bfloat16_bits(np.clip(descriptors(rng, parameters, 2, 90), 0, 255).round()))
    maps = torch.from_numpy(x).to(getattr(torch, element))
    like = maps.double().numpy()
    agree(device, maps, like, parameters, dtype=torch.float64 if element == "float64" else torch.float32)


def test_parameters_may_be_tensors(device, rng):
    parameters = mixture(rng, 5, 9)
    x = descriptors(rng, parameters, 2, 40)
    tensors = [torch.from_numpy(a).requires_grad_() for a in parameters]
    found = moments.compute(device, torch.from_numpy(x), *tensors, threshold=1e-6, pooled=False)
    assert max(distances([a.numpy() for a in found], reference.moments(x, *parameters))) < 1e-5


def test_several_rounds_agree(device, rng, monkeypatch):
    monkeypatch.setattr(launches, "ROUND_BYTES", 1)
    parameters = mixture(rng, 5, 9)
    x = descriptors(rng, parameters, 3, 600)
    agree(device, torch.from_numpy(x), x, parameters)
    agree(device, torch.from_numpy(channel_first(x, 20)), x, parameters, pooled=True)


@pytest.mark.parametrize("n", [1, 600])
def test_values_that_are_not_finite_are_named_and_far_ones_are_computed_in_double(device, rng, n):
    parameters = mixture(rng, 4, 6)
    x = descriptors(rng, parameters, 3, n)
    x[1, 0] = 1e20
    agree(device, torch.from_numpy(x), x, parameters, pooled=True)
    x[2, n // 2, 5] = np.nan
    for maps, pooled in ((torch.from_numpy(x), False), (torch.from_numpy(x), True), ([torch.from_numpy(x[2])], False)):
        with pytest.raises(InputError, match=f"got NaN or infinity in map {0 if isinstance(maps, list) else 2}"):
            moments.compute(device, maps, *parameters, threshold=1e-6, pooled=pooled)
