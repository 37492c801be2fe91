"""Slices stored in HU in addition to the windows: descriptors are not quantised to 8 bits; regions do not change."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_baselines import make
from test_regions import chest

from ildfv.errors import InputError
from ildfv.pipeline.encode import EncodeSettings, encode_slices
from ildfv.pipeline.encodings import Encoding
from ildfv.pipeline.verify import verify_workspace
from ildfv.scans.hounsfield import mean_hounsfield
from ildfv.scans.windows import NORMAL, WINDOWS, windowed
from ildfv.train.descriptors import Filters

TINY = EncodeSettings(layer="filters", region="lung", components=2, dimensions=4, passes=1)
LOW, HIGH = WINDOWS[NORMAL]


def in_hu(number):
    """The chest with its HU, as read from the normal window, plus a third of a grey level."""
    one = chest(number)
    return replace(one, hu=(LOW + one.images[:, NORMAL] * ((HIGH - LOW) / 255) + 2).astype(np.int16))


def test_hu_are_averaged_over_prepared_pixels_and_padding_is_black():
    hu = np.random.default_rng(0).normal(-800, 60, (448, 448)).round().astype(np.int16)
    found = mean_hounsfield(hu)
    assert found.shape == (224, 224)
    assert np.abs(found - hu.reshape(224, 2, 224, 2).mean(axis=(1, 3))).max() <= 0.5
    padded = mean_hounsfield(np.full((448, 224), -3024))
    assert (padded == LOW).all()
    grey = windowed(hu.astype(np.float32))[NORMAL] * ((HIGH - LOW) / 255) + LOW
    assert np.abs(found - grey).max() < 4  # the rounding of half a grey level and half a HU


def test_descriptors_of_hu_are_those_of_the_window_without_its_quantisation():
    hu = np.random.default_rng(0).integers(-1000, 0, (1, 1, 224, 224)).astype(np.int16)
    exact = (hu.astype(np.float32) - LOW) * (255 / (HIGH - LOW))
    windows = torch.from_numpy(np.repeat(exact, 3, axis=1))
    filters = Filters()
    assert torch.allclose(filters(torch.from_numpy(hu)), filters(windows), atol=1e-4)
    rounded = filters(windows.round().to(torch.uint8))
    assert not torch.allclose(filters(torch.from_numpy(hu)), rounded, atol=1e-4)


@pytest.mark.slow
def test_layers_without_a_network_read_hu_where_all_slices_have_them(tmp_path):
    plain, full = make(tmp_path / "plain", chest), make(tmp_path / "full", in_hu)
    infos = [encode_slices(one.root, TINY) for one in (plain, full)]
    assert "hounsfield" not in infos[0]["inputs"]
    assert infos[1]["inputs"]["hounsfield"] is True
    a, b = (Encoding(one.encoding_dir("filters", 0, "lung")).projections() for one in (plain, full))
    assert a.shape == b.shape
    assert not np.array_equal(a, b)
    masks = [sorted((one.root / "regions").rglob("*.h5")) for one in (plain, full)]
    assert [path.read_bytes() for path in masks[0]] == [path.read_bytes() for path in masks[1]]
    assert len(masks[0]) > 0
    assert verify_workspace(full.root)["faults"] == []
    mixed = make(tmp_path / "mixed", lambda number: (in_hu if number else chest)(number))
    assert not mixed.slices().has_hounsfield
    with pytest.raises(InputError, match="all slices must be prepared with --hu"):
        mixed.slices().hounsfield([0])
