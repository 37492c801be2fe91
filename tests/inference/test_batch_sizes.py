"""A predictor gives the scores that `train` and `regress` stored for the same slices, with any batch size."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1] / "pipeline"))

from small import make_workspace
from test_regions import LUNG

from ildfv.inference import slice_predictor as module
from ildfv.inference.predictor import Predictor
from ildfv.pipeline.encode import encode_slices
from ildfv.pipeline.export import export_predictor
from ildfv.pipeline.regress import regress_encoding
from ildfv.pipeline.score import read_scores
from ildfv.pipeline.train import train_network
from ildfv.train import networks


@networks.register("wide")
def wide(n_outputs):
    """Fully connected layers large enough that matrix libraries choose their algorithm by the number of rows."""
    body = nn.Sequential()
    body.add_module("conv1", nn.Conv2d(3, 16, 8, stride=8))
    body.add_module("relu1", nn.ReLU())
    body.add_module("pool", nn.AvgPool2d(2))
    body.add_module("flatten", nn.Flatten())
    body.add_module("fc6", nn.Linear(16 * 14 * 14, 256))
    body.add_module("relu6", nn.ReLU())
    body.add_module("out", nn.Linear(256, n_outputs))
    return body, {"conv1": "relu1", "fc6": "relu6"}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """(workspace, folder of a predictor with the network and two encodings, results by head)."""
    root = tmp_path_factory.mktemp("study")
    workspace = make_workspace(root / "study", model=False)
    results = {"cnn-wide": train_network(workspace.root, network="wide", epochs=1, device="cpu")}
    for layer in ("conv1", "fc6"):
        encode_slices(workspace.root, replace(LUNG, layer=layer, region="slice", batch_size=5))
        results[f"fv-{layer}"] = regress_encoding(workspace.root, layer=layer)
    export_predictor(workspace.root, root / "predictor", layer=["conv1", "fc6"], cnn=True)
    return workspace, root / "predictor", results


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 3, 16, 64])
def test_scores_are_those_of_train_and_regress(study, monkeypatch, batch):
    workspace, folder, results = study
    monkeypatch.setattr(module, "BATCH", batch)
    found = None
    for name, result in results.items():
        indices, stored = read_scores(workspace, f"{result.system}-fold-0", result.scores_sha256)
        indices, stored = indices[:11], stored[:11]
        if found is None:
            found = Predictor.load(folder).scores(workspace.slices().images(indices), pixel_area=0.5)
        np.testing.assert_allclose(found[name], stored, rtol=0, atol=1e-6 * max(1, np.abs(stored).max()))
        if name == "cnn-wide" and torch.backends.mkldnn.is_available():  # its convolutions are computed slice by slice
            np.testing.assert_array_equal(found[name].astype(np.float32), stored.astype(np.float32))
