"""Maps lie on the pixels that they depend on: moving one pixel changes only the locations whose image includes it."""

import numpy as np
import pytest
import torch

from ildfv.train.activations import Activations
from ildfv.train.descriptors import Filters, Patches
from ildfv.train.networks import SIZE, build
from ildfv.train.receptive import receptive_fields

PIXELS = ((0, 0), (3, 200), (111, 57), (223, 223))


@pytest.fixture(scope="module")
def network():
    return build("cnnf", seed=0).normalise(np.full(3, 127.5), np.full(3, 64.0))


def check_pixel(maps, fields, pixel, *, seeds=3):
    """The share of the locations with the pixel in their field that react to it; checks that no other location does."""
    h, w = len(fields.rows), len(fields.columns)
    one = np.eye(h * w)
    includes = fields.spread(one)[:, pixel[0], pixel[1]].reshape(h, w) > 0 if h * w < 200 else None
    sees = np.outer(fields.rows[:, pixel[0]], fields.columns[:, pixel[1]])  # (h, w)
    assert includes is None or np.array_equal(includes, sees)  # a location is spread over its receptive field
    reached = np.zeros_like(sees)
    for seed in range(seeds):  # several images, as dead units and pooling can hide a change
        image = torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (1, 3, SIZE, SIZE), dtype=np.uint8))
        changed = image.clone()
        changed[0, :, pixel[0], pixel[1]] = 255 - changed[0, :, pixel[0], pixel[1]]
        reached |= (maps(image) != maps(changed)).any(dim=1)[0].numpy()
    assert not (reached & ~sees).any()
    return reached.sum() / max(1, sees.sum())


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["conv1", "conv2", "conv3", "conv4", "conv5"])
def test_maps_of_a_convolution_lie_on_the_pixels_they_depend_on(network, layer):
    maps, fields = Activations(network, layer), receptive_fields(network, layer)
    shares = [check_pixel(maps, fields, pixel) for pixel in PIXELS]
    assert max(shares) > 0.9  # almost all of these locations react


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["fc6", "fc7"])
def test_maps_of_a_fully_connected_layer_lie_on_the_pixels_they_depend_on(network, layer):
    maps, fields = Activations(network, layer), receptive_fields(network, layer)
    for pixel in PIXELS:
        share = check_pixel(maps, fields, pixel)
        assert share == float(fields.rows[0, pixel[0]] and fields.columns[0, pixel[1]])


@pytest.mark.parametrize("kind", [pytest.param(Filters, marks=pytest.mark.slow), Patches])
def test_maps_of_descriptors_without_a_network_lie_on_the_pixels_they_depend_on(kind):
    descriptors = kind()
    for pixel in PIXELS:
        share = check_pixel(descriptors, descriptors.fields, pixel, seeds=1)
        # At their corners, the kernels of filters are too small to change a float32 result.
        assert share == 1.0 if kind is Patches else share > 0.6
