"""Networks of torchvision and timm are trained, encoded, regressed, and compared with others."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tiny import TINY
from typer.testing import CliRunner

from ildfv.cli.app import app
from ildfv.errors import MissingPackageError
from ildfv.experiments.run import run_experiments
from ildfv.train import networks

REAL = {"torchvision:resnet18": "layer1", "timm:convnext_atto": "stages.1"}  # network → a layer of it


@pytest.fixture(autouse=True, params=REAL)
def name(request):
    try:
        networks.build(request.param)
    except MissingPackageError as error:
        pytest.skip(str(error))
    return request.param


def ildfv(*words, fails=False):
    found = CliRunner().invoke(app, list(map(str, words)))
    assert (found.exit_code != 0) is fails, found.output
    return str(found.exception) if fails else found.output


@pytest.mark.slow
def test_a_network_of_a_package_is_trained_encoded_and_regressed(made, tmp_path, name):
    root = Path(shutil.copytree(made, tmp_path / "w"))
    ildfv("train", "-w", root, "--network", name, "--epochs", 1, "--batch-size", 12, "--device", "cpu")
    message = ildfv("encode", "-w", root, "--layer", "conv5", fails=True)
    assert f"layer of {name} must be one of " in message
    assert REAL[name] in message
    ildfv("encode", "-w", root, "--layer", REAL[name], "-k", 3, "--dimensions", 8, "--passes", 2, "--device", "cpu")
    document = json.loads(ildfv("regress", "-w", root, "--layer", REAL[name], "--json"))
    assert document["overall"]["mean_auc"] is not None


@pytest.mark.slow
def test_a_network_of_a_package_is_compared_with_cnnf(made, tmp_path, name):
    root = Path(shutil.copytree(made, tmp_path / "w"))
    preset = replace(TINY, networks={name: {}})
    (document,) = run_experiments(["networks"], preset=preset, workspace=root, device="cpu")["experiments"]
    assert name in [row[0] for row in document.tables[0].rows]
