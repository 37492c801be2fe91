"""The `ildfv encode` commands that messages quote remove the error, and keep the settings of the encoding."""

import re
import shlex
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from ildfv.cli.app import app
from ildfv.errors import InputError
from ildfv.pipeline.encode import EncodeSettings, encode_slices
from ildfv.pipeline.encode_again import encode_again
from ildfv.pipeline.encode_command import command_of_name
from ildfv.pipeline.encodings import Encoding, newest
from ildfv.pipeline.regress import regress_encoding
from ildfv.pipeline.split import write_folds
from ildfv.pipeline.train import newest_model
from ildfv.pipeline.workspace import Workspace

COARSE = EncodeSettings(layer="conv1", components=2, dimensions=4, passes=1, batch_size=4, seed=3, improved=False)


@pytest.mark.parametrize(
    ("name", "fold", "expected"),
    [
        ("conv1", None, "--layer conv1"),
        ("patches-lung", 2, "--layer patches --region lung --fold 2"),
        ("conv1-body", 0, "--layer conv1 --region body --fold 0"),
        ("efficientnet-lite0-block5-lung", 1, "--layer block5 --region lung --fold 1 --network efficientnet-lite0"),
        ("cnnf-multihead-conv5", None, "--layer conv5 --network cnnf-multihead --weights FILE"),
        ("timm-resnet18.a1_in1k-layer3", 0, "--layer layer3 --fold 0 --network timm:resnet18.a1_in1k --weights FILE"),
    ],
)
def test_the_command_of_a_missing_encoding_is_complete(name, fold, expected):
    assert command_of_name(name, fold) == f"ildfv encode {expected}"


def test_the_error_for_a_missing_encoding_names_fold_and_region(root):
    with pytest.raises(InputError, match="of patches-lung for fold 2: run `ildfv encode --layer patches --region lung"):
        newest(Workspace.open(root), 2, "patches-lung")


def test_the_error_for_a_missing_encoding_names_the_regions_that_are_encoded(root):
    encode_slices(root, replace(COARSE, layer="patches"))
    there = "of patches-lung for fold 0: there is one with --region slice; choose it, or run `ildfv encode "
    with pytest.raises(InputError, match=there):
        newest(Workspace.open(root), 0, "patches-lung")
    with pytest.raises(InputError, match="of patches-lung for fold 1: run `"):
        newest(Workspace.open(root), 1, "patches-lung")


def test_the_command_for_a_stale_encoding_removes_the_error_and_keeps_its_settings(root):
    encode_slices(root, COARSE)
    before = Encoding(root / "encodings/conv1/fold-0").inputs
    write_folds(Workspace.open(root), seed=1, fresh=True)
    with pytest.raises(InputError, match="was made from folds other than the current ones") as error:
        regress_encoding(root, head="ridge")
    command = re.search("`(.*)`", str(error.value))[1]
    CliRunner().invoke(app, [*shlex.split(command)[1:], "-w", str(root)], catch_exceptions=False)
    assert regress_encoding(root, head="ridge").system == "fv-conv1-ridge"
    changed = {"folds", "fit"}
    assert {k: v for k, v in Encoding(root / "encodings/conv1/fold-0").inputs.items() if k not in changed} == {
        k: v for k, v in before.items() if k not in changed
    }


def test_the_command_for_a_frozen_network_names_network_layer_and_weights(root):
    encoding = Encoding.__new__(Encoding)
    encoding.layer, encoding.region, encoding.fold, encoding.folder = "timm-resnet18-layer3", "lung", 1, root
    encoding.info = {"inputs": {"model": "timm:resnet18, frozen", "lungs": "lungmask", "method": "exact", "passes": 10}}
    expected = "--layer layer3 --region lung --fold 1 --network timm:resnet18 --weights FILE --lungs lungmask"
    assert encode_again(encoding) == f"ildfv encode {expected} --method exact --fresh"


@pytest.mark.parametrize(("name", "option"), [("vgg19", "--network vgg19"), ("mine", "--name mine")])
def test_the_error_for_a_missing_network_names_the_option_that_gives_it_this_name(root, name, option):
    with pytest.raises(InputError, match=f"named {name} for fold 2: run `ildfv train --fold 2 {option}`"):
        newest_model(Workspace.open(root), 2, name)
