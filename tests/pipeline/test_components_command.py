"""`ildfv components`: the mixture of an encoding with training patches only."""

import json

import pytest
from safetensors.numpy import save_file
from small import make_workspace
from test_regions import LUNG
from typer.testing import CliRunner

from ildfv.cli.app import app
from ildfv.errors import InputError
from ildfv.pipeline.components import describe_components
from ildfv.pipeline.encode import encode_slices
from ildfv.pipeline.regress import regress_encoding
from ildfv.pipeline.split import load_folds, split_slices
from ildfv.train.networks import build, tensors


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    from dataclasses import replace

    made = make_workspace(tmp_path_factory.mktemp("components") / "study")
    encode_slices(made.root, replace(LUNG, region="slice"))
    return made


def test_patches_are_of_training_patients_and_the_page_shows_them(workspace, tmp_path):
    with pytest.raises(
        InputError, match=r"must have a linear regression, got none: run `ildfv regress --layer conv1 --fold 0 -w \S+`"
    ):
        describe_components(workspace.root)
    regress_encoding(workspace.root, layer="conv1")
    command = ["components", "-w", str(workspace.root), "--out", str(tmp_path / "page.html"), "-n", "2"]
    result = CliRunner().invoke(app, [*command, "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    fit = split_slices(workspace.slices(), load_folds(workspace), 0).fit
    patients = set(workspace.slices().patients[fit].tolist())
    weights = [one["weight"] for one in found["components"]]
    assert weights == sorted(weights, reverse=True)
    assert len(weights) == LUNG.components
    for one in found["components"]:
        assert {patch["patient"] for patch in one["patches"]} <= patients
        assert len(one["patches"]) == 2
    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image/png;base64") == 2 * len(weights)
    assert "images of patients" in page
    shown = CliRunner().invoke(app, command)
    assert shown.exit_code == 0, shown.output


def test_the_newest_encoding_with_a_linear_regression_is_used(workspace):
    from dataclasses import replace

    encode_slices(workspace.root, replace(LUNG, layer="fc6", region="slice"))
    assert describe_components(workspace.root, count=1)["layer"] == "conv1"
    with pytest.raises(InputError, match=r"run `ildfv regress --layer fc6 --fold 0 -w \S+`"):
        describe_components(workspace.root, layer="fc6")


def test_a_frozen_network_needs_the_weights_of_its_encoding(workspace, tmp_path):
    from dataclasses import replace

    def weights(seed):
        values = tensors(build("small", seed=seed))
        kept = {name.removeprefix("body."): value for name, value in values.items() if name not in ("mean", "std")}
        save_file(kept, tmp_path / f"{seed}.safetensors")
        return tmp_path / f"{seed}.safetensors"

    right, other = weights(5), weights(6)
    encode_slices(workspace.root, replace(LUNG, region="slice"), network="small", weights=right)
    regress_encoding(workspace.root, layer="small-conv1")
    command = ["components", "-w", str(workspace.root), "--layer", "small-conv1", "-n", "1", "--json"]
    for given in ([], ["--weights", str(other)]):
        refused = CliRunner().invoke(app, [*command, *given])
        assert isinstance(refused.exception, InputError)
        assert "--weights" in str(refused.exception)
    result = CliRunner().invoke(app, [*command, "--weights", str(other), "--weights", str(right)])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["layer"] == "small-conv1"
    assert all(len(one["patches"]) == 1 for one in found["components"])
