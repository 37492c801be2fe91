"""Several layers are encoded one after another, each in its own folder, and the command that joins them is printed."""

import json
import shlex

import pytest
from typer.testing import CliRunner

from ildfv.cli.app import app
from ildfv.errors import InputError
from ildfv.pipeline.encode import EncodeSettings, encode_slices
from ildfv.pipeline.encode_layers import encode_layers, next_command
from ildfv.pipeline.workspace import Workspace
from ildfv.progress import Silent

SETTINGS = EncodeSettings(layer="conv1+patches", components=2, dimensions=4, passes=1)


class Notes(Silent):
    """Collects notes."""

    def __init__(self):
        self.lines = []

    def note(self, text):
        self.lines.append(text)


@pytest.mark.slow
def test_encode_prints_the_command_that_joins_the_layers(root):
    given = ["-w", str(root), "--layer", "conv1+patches", "-k", "2", "--dimensions", "4"]
    shown = CliRunner().invoke(app, ["encode", *given, "--passes", "1"], catch_exceptions=False).stdout
    command = "ildfv regress --layer conv1+patches --head ridge"
    assert shown.rstrip().endswith(f"Next: {command} -w {shlex.quote(str(root))}")
    folders = [Workspace.open(root).encoding_dir(layer, 0) for layer in ("conv1", "patches")]
    before = {path: path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}
    document = json.loads(CliRunner().invoke(app, ["encode", *given, "--passes", "1", "--json"]).stdout)
    assert [one["layer"] for one in document["encodings"]] == ["conv1", "patches"]
    assert document["next"] == command
    assert {path: path.read_bytes() for path in before} == before  # finished encodings are kept
    CliRunner().invoke(app, [*shlex.split(command)[1:], "-w", str(root)], catch_exceptions=False)
    assert "fv-conv1+patches-ridge-fold-0" in Workspace.open(root).results()


@pytest.mark.slow
def test_the_encodings_are_those_of_one_command_per_layer_and_resume_separately(root):
    one = encode_slices(root, EncodeSettings(layer="patches", components=2, dimensions=4, passes=1))
    notes = Notes()
    found = encode_layers(root, SETTINGS, model="small", progress=notes)  # patches need no network
    assert found[1] == one
    assert [line for line in notes.lines if "already finished" in line] == [
        f"{Workspace.open(root).encoding_dir('patches', 0)} is already finished: "
        "remove it to encode the slices again with the same settings"
    ]


def test_the_command_names_the_region_and_the_fold():
    both = [{"layer": layer, "region": "lung", "fold": 0} for layer in ("filters", "patches")]
    assert next_command(both) == "ildfv regress --layer filters+patches --region lung --head ridge"
    assert next_command([{"layer": "conv1", "region": "slice", "fold": 2}]) == "ildfv regress --layer conv1 --fold 2"


@pytest.mark.parametrize("layer", ["conv1+", "+conv1", "conv1+conv1", "conv1++patches"])
def test_malformed_layers_are_refused(root, layer):
    rule = r'layer must be one layer, or several different layers joined by "\+" such as conv1\+patches, got "'
    with pytest.raises(InputError, match=rule):
        encode_layers(root, EncodeSettings(layer=layer))


@pytest.mark.parametrize("layer", ["conv1+nosuch", "patches+nosuch"])
def test_an_unknown_layer_is_refused_before_a_layer_is_encoded(root, layer):
    with pytest.raises(InputError, match='layer of small must be one of conv1, fc6, got "nosuch"'):
        encode_layers(root, EncodeSettings(layer=layer, components=2, dimensions=4, passes=1), device="cpu")
    assert not Workspace.open(root).encodings_dir.exists()


def test_a_network_for_layers_that_need_none_is_refused(root):
    with pytest.raises(InputError, match='layer "filters" needs no network, got --model small: omit --model'):
        encode_layers(root, EncodeSettings(layer="filters+patches"), model="small")
