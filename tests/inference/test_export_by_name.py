"""`export --system` takes the names of systems that `fit` and `regress` print."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "pipeline"))

from test_batch_sizes import wide
from test_regions import chest
from test_systems import TINY, workspace_of

from ildfv.errors import InputError
from ildfv.pipeline.encode import encode_slices
from ildfv.pipeline.export import export_predictor
from ildfv.pipeline.regress import regress_encoding
from ildfv.pipeline.train import train_network
from ildfv.train.networks import NETWORKS


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A workspace with the output of a network, two regressions on conv1 in the lung, and a newer encoding of fc6."""
    assert NETWORKS["wide"] is wide
    workspace = workspace_of(tmp_path_factory.mktemp("study") / "study", chest)
    train_network(workspace.root, network="wide", epochs=1, device="cpu")
    encode_slices(workspace.root, replace(TINY, layer="conv1"))
    for head in ("linear", "ridge"):
        regress_encoding(workspace.root, layer="conv1", region="lung", head=head)
    encode_slices(workspace.root, replace(TINY, layer="fc6", region="slice"))
    regress_encoding(workspace.root, layer="fc6")
    return workspace.root


@pytest.mark.parametrize(
    ("names", "encodings"),
    [
        (["fv-conv1-lung-ridge"], ["conv1-lung"]),
        (["fv-fc6", "fv-conv1-lung"], ["fc6", "conv1-lung"]),
        (["cnn-wide"], []),
        (["cnn-wide", "fv-conv1-lung"], ["conv1-lung"]),
    ],
)
def test_exactly_the_named_systems_are_exported_and_the_first_is_primary(study, tmp_path, names, encodings):
    info = export_predictor(study, tmp_path / "predictor", system=names)
    assert sorted(head.name for head in info.heads) == sorted(names)
    assert info.primary == info.heads[0].name == names[0]
    assert list(info.encodings) == encodings


def test_an_unknown_system_is_refused_with_those_that_are_fitted(study, tmp_path):
    known = "fv-conv1-lung, fv-conv1-lung-ridge, fv-fc6"
    with pytest.raises(InputError, match=rf'fold 0, got "fv-conv2": choose one of {known}$'):
        export_predictor(study, tmp_path / "predictor", system=["fv-conv2"])
    with pytest.raises(InputError, match="run `ildfv train --fold 0 --name tiny`"):
        export_predictor(study, tmp_path / "predictor", system=["cnn-tiny"])


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"layer": "conv1"}, "--layer"),
        ({"layer": ["conv1"], "region": "lung"}, "--layer and --region"),
        ({"region": "slice"}, "--region"),
        ({"head": ["ridge"]}, "--head"),
        ({"bags": "max"}, "--bags"),
        ({"cnn": True}, "--cnn"),
        ({"cnn": False}, "--no-cnn"),
    ],
)
def test_a_system_excludes_the_options_that_its_name_contains(study, tmp_path, given, named):
    with pytest.raises(
        InputError, match=f"--system must be given without .*, got {named}: omit --system, or all others"
    ):
        export_predictor(study, tmp_path / "predictor", system=["fv-fc6"], **given)


@pytest.mark.parametrize("region", ["slice", "lung"])
def test_a_region_without_a_layer_is_refused(study, tmp_path, region):
    with pytest.raises(InputError, match=f"--region {region} needs a layer, got none: add --layer, or use --system"):
        export_predictor(study, tmp_path / "predictor", region=region)


def test_a_layer_and_its_region_select_the_same_systems_as_their_names(study, tmp_path):
    parts = export_predictor(study, tmp_path / "parts", layer="conv1", region="lung", cnn=False)
    names = export_predictor(study, tmp_path / "names", system=["fv-conv1-lung", "fv-conv1-lung-ridge"])
    assert [head.name for head in parts.heads] == [head.name for head in names.heads]
