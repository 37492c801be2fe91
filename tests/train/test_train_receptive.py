"""Receptive fields: a change of one pixel affects exactly the locations whose field contains it."""

import numpy as np
import pytest
import torch

from ildfv.train.activations import Activations
from ildfv.train.networks import SIZE, build
from ildfv.train.receptive import ReceptiveFields, receptive_fields


@pytest.fixture(scope="module")
def network():
    return build("cnnf", seed=0).normalise(np.full(3, 127.5), np.full(3, 64.0))


@pytest.mark.parametrize(
    ("layer", "shape", "size"), [("conv1", (54, 54), 11), ("conv2", (27, 27), 51), ("conv3", (13, 13), 99)]
)
def test_receptive_fields_have_the_size_of_the_kernels(network, layer, shape, size):
    found = receptive_fields(network, layer)
    assert (len(found.rows), len(found.columns)) == shape
    assert found.rows[shape[0] // 2].sum() == found.columns[shape[1] // 2].sum() == size


def test_receptive_fields_of_conv1_start_at_four_times_the_location(network):
    found = receptive_fields(network, "conv1")
    for i in (0, 1, 53):
        assert np.flatnonzero(found.rows[i]).tolist() == list(range(4 * i, 4 * i + 11))


@pytest.mark.parametrize("layer", ["conv1", "conv2"])
@pytest.mark.parametrize("pixel", [(0, 0), (3, 200), (111, 57), (223, 223)])
def test_a_changed_pixel_affects_only_locations_with_it_in_their_field(network, layer, pixel):
    found, maps = receptive_fields(network, layer), Activations(network, layer)
    sees = np.outer(found.rows[:, pixel[0]], found.columns[:, pixel[1]])  # (h, w)
    reached = np.zeros_like(sees)
    for seed in range(4):  # several images, as dead units and pooling can hide a change
        image = torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (1, 3, SIZE, SIZE), dtype=np.uint8))
        changed = image.clone()
        changed[0, :, pixel[0], pixel[1]] = 255 - changed[0, :, pixel[0], pixel[1]]
        reached |= (maps(image) != maps(changed)).any(dim=1)[0].numpy()
    assert not (reached & ~sees).any()
    assert (reached == sees).mean() > 0.98 if layer != "conv1" else (reached == sees).all()


def test_fc6_depends_on_the_whole_slice_except_what_pooling_omits(network):
    found = receptive_fields(network, "fc6")
    assert found.rows.shape == found.columns.shape == (1, SIZE)
    assert found.rows.sum() > 200


def test_shares_count_the_pixels_of_a_receptive_field_inside():
    fields = ReceptiveFields(np.eye(4, 224, dtype=bool) | np.eye(4, 224, 1, dtype=bool), np.eye(2, 224, dtype=bool))
    region = np.zeros((1, 224, 224), bool)
    region[0, 1:3, 0] = True
    assert fields.shares(region).reshape(4, 2).tolist() == [[0.5, 0], [1, 0], [0.5, 0], [0, 0]]


def test_spreading_keeps_the_sum_and_the_position(network):
    fields = receptive_fields(network, "conv1")
    values = np.zeros((1, 54 * 54))
    values[0, 10 * 54 + 20] = 3.0
    image = fields.spread(values)[0]
    assert image.sum() == pytest.approx(3.0)
    rows, columns = np.nonzero(image)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (40, 50, 80, 90)
