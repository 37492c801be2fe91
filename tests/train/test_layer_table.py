"""The table of layers in docs/settings.md has the sizes of the maps that are encoded."""

import re
from pathlib import Path

import pytest

from ildfv.train.activations import Activations
from ildfv.train.descriptors import KINDS
from ildfv.train.networks import build

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
ROW = re.compile(r"^\| `(\w+)`(?: … `(\w+)`)?[^|]*\| (\d+)[^|]*\| (\d+)(?: × (\d+))? \|", re.MULTILINE)


def sizes():
    """{layer: (d, n)} of the table."""
    found = {}
    for first, last, d, rows, columns in ROW.findall(PAGE.read_text()):
        for layer in (first, last) if last else (first,):
            found[layer] = (int(d), int(rows) * int(columns or 1))
    return found


@pytest.mark.parametrize("layer", KINDS)
def test_layers_without_a_network_have_the_stated_sizes(layer, tmp_path):
    import numpy as np

    maps = KINDS[layer]("cpu")
    maps.prepare(tmp_path / "descriptors", lambda size: np.random.default_rng(0).normal(size=(200, maps.d)), 0)
    assert (maps.d, maps.n) == sizes()[layer]


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["conv1", "conv2", "conv3", "conv5", "fc6"])
def test_layers_of_cnnf_have_the_stated_sizes(layer):
    maps = Activations(build("cnnf"), layer)
    assert (maps.d, maps.n) == sizes()[layer]
