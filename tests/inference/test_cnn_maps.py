"""Maps of network outputs: Grad-CAM equals CAM where CAM exists; occlusion finds the pixels an output depends on."""

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("captum")

from ildfv.errors import InputError
from ildfv.inference.cnn_maps import deepest_map, grad_cam, grad_cam_values, occlusion
from ildfv.inference.placement import centred
from ildfv.train import networks
from ildfv.train.activations import Activations
from ildfv.train.receptive import ReceptiveFields


@networks.register("averaging")
def averaging(n_outputs):
    """A convolution, global average pooling and a linear layer: CAM is defined."""
    body = nn.Sequential()
    body.add_module("conv1", nn.Conv2d(3, 6, 32, stride=32))
    body.add_module("relu1", nn.ReLU(inplace=True))
    body.add_module("pool", nn.AdaptiveAvgPool2d(1))
    body.add_module("flatten", nn.Flatten())
    body.add_module("out", nn.Linear(6, n_outputs))
    return body, {"conv1": "relu1", "pool": "pool"}


@networks.register("quarters")
def quarters(n_outputs):
    """Output c is the mean of quarter c of the slice, with weight −1 for odd c."""
    body = nn.Sequential()
    body.add_module("conv1", nn.AvgPool2d(112))
    body.add_module("flatten", nn.Flatten())
    out = nn.Linear(12, n_outputs)
    with torch.no_grad():
        signs = torch.tensor([1.0, -1, 1, -1])
        out.weight.copy_(torch.cat([torch.diag(signs) / 3] * 3, dim=1))
    body.add_module("out", out)
    return body, {"conv1": "conv1"}


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 3, 224, 224)).astype(np.uint8)


def network(name):
    return networks.build(name, seed=3).normalise(np.full(3, 100.0), np.full(3, 50.0)).eval()


def test_grad_cam_of_an_averaging_network_is_cam_and_adds_up_to_the_score(images):
    net = network("averaging")
    found = grad_cam(net, images)
    assert found.shape == (3, 4, 224, 224)
    maps = Activations(net, "conv1")(images).reshape(3, 6, -1)
    weight, bias = (p.detach() for p in (net.body.out.weight, net.body.out.bias))
    cam = torch.einsum("cd,mdn->mcn", weight, maps) / maps.shape[2]
    np.testing.assert_allclose(grad_cam_values(net, images, "conv1"), cam, rtol=1e-4, atol=1e-7)
    with torch.inference_mode():
        scores = net(torch.from_numpy(images)) - bias
    np.testing.assert_allclose(found.sum(axis=(2, 3)), scores, rtol=1e-4)
    assert (found < 0).any()
    assert (found > 0).any()


def test_grad_cam_does_not_depend_on_the_other_slices(images):
    net = network("averaging")
    alone, together = (grad_cam_values(net, some, "conv1") for some in (images[1:2], images))
    np.testing.assert_allclose(together[1], alone[0], atol=1e-9)


def test_occlusion_finds_the_pixels_of_an_output_with_their_sign(images):
    images = np.full_like(images, 100)
    images[:, :, 56:112, 56:112] = 200  # quarter 0
    images[:, :, 56:112, 112:168] = 200  # quarter 1, whose output has weight −1
    found = occlusion(network("quarters"), images[:1], window=56, step=56)[0]
    expected = 2.0 * 56**2 / 112**2  # (200 − 100) / 50, times the pixels of a window relative to those of a quarter
    for c, columns, sign in ((0, slice(56, 112), 1), (1, slice(112, 168), -1)):
        np.testing.assert_allclose(found[c, 56:112, columns], sign * expected, rtol=1e-4)
        outside = found[c].copy()
        outside[56:112, columns] = 0
        np.testing.assert_allclose(outside, 0, atol=1e-5)
    np.testing.assert_allclose(found[2:], 0, atol=1e-5)


def test_the_default_layer_is_the_deepest_with_more_than_one_location(images):
    net = network("averaging")
    assert deepest_map(net) == "conv1"
    with pytest.raises(InputError, match='layer of averaging must be one of conv1, pool, got "conv9"'):
        grad_cam(net, images, "conv9")
    with pytest.raises(InputError, match="must satisfy 1 ≤ step ≤ window"):
        occlusion(net, images, window=8, step=16)


@pytest.mark.parametrize(("step", "size", "h"), [(4, 11, 54), (16, 163, 13), (224, 220, 1)])
def test_centred_values_keep_their_sum_and_lie_inside_their_receptive_field(step, size, h):
    pixels, starts = np.arange(224), np.arange(h)[:, None] * step - (size // 2 if h == 13 else 0)
    seen = (pixels >= starts) & (pixels < starts + size)  # like those of conv1, conv5 and fc6 of CNN-F
    fields = ReceptiveFields(seen, seen)
    values = np.random.default_rng(0).normal(size=(2, h * h))
    np.testing.assert_allclose(centred(fields, values).sum(axis=(1, 2)), values.sum(axis=1))
    for i, j in ((0, 0), (h // 2, h // 3), (h - 1, h - 1)):
        one = np.zeros((1, h, h))
        one[0, i, j] = 1.0
        shown = centred(fields, one.reshape(1, -1))[0] > 0
        assert not (shown & ~np.outer(seen[i], seen[j])).any()
        assert shown.any()
