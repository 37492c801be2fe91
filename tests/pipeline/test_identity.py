"""Copied or renamed files are not mistaken for others, and the newest is chosen by a recorded order, not by time."""

import json
import os
import shutil

import numpy as np
import pytest
from small import make_workspace

from ildfv.errors import InputError
from ildfv.pipeline.encode import EncodeSettings, encode_slices
from ildfv.pipeline.encodings import newest
from ildfv.pipeline.order import FILE, record
from ildfv.pipeline.regress import regress_encoding
from ildfv.pipeline.report import make_report
from ildfv.pipeline.train import newest_model, train_network
from ildfv.pipeline.verify import verify_workspace
from ildfv.pipeline.workspace import Workspace
from ildfv.store.models import TENSORS, load_model, save_model

ENCODE = EncodeSettings(components=2, dimensions=3, passes=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A workspace with two networks, two encodings, and the results of one regression."""
    root = make_workspace(tmp_path_factory.mktemp("made") / "workspace", model=False).root
    for name in ("b", "a"):
        train_network(root, network="small", name=name, epochs=1)
    for layer in ("fc6", "conv1"):
        encode_slices(root, EncodeSettings(layer=layer, components=2, dimensions=3, passes=1), model="a")
    regress_encoding(root)
    return root


@pytest.fixture
def root(made, tmp_path):
    return shutil.copytree(made, tmp_path / "workspace")


def faults(root) -> str:
    return "\n".join(verify_workspace(root)["faults"])


def test_an_unchanged_workspace_has_no_fault(root):
    assert faults(root) == ""
    make_report(root)


def test_an_encoding_copied_from_another_fold_is_refused(root):
    shutil.copytree(root / "encodings/conv1/fold-0", root / "encodings/conv1/fold-1")
    with pytest.raises(InputError, match=r"must contain the encoding that was written to it, got a copy of .*fold-0"):
        regress_encoding(root, fold=1)
    assert "got a copy of encodings/conv1/fold-0" in faults(root)


def test_an_encoding_copied_from_another_layer_is_refused(root):
    shutil.rmtree(root / "encodings/fc6/fold-0")
    shutil.copytree(root / "encodings/conv1/fold-0", root / "encodings/fc6/fold-0")
    with pytest.raises(InputError, match="must contain the encoding that was written to it"):
        regress_encoding(root, layer="fc6")


def test_results_copied_from_another_fold_are_named_by_report_and_verify(root):
    for suffix in (".json", ".csv"):
        shutil.copy(root / f"results/fv-conv1-fold-0{suffix}", root / f"results/fv-conv1-fold-1{suffix}")
    with pytest.raises(InputError, match="must contain the results of "):
        make_report(root)
    assert "must contain the results of " in faults(root)


def test_a_network_copied_from_another_fold_is_named_by_verify_and_encode(root):
    shutil.copytree(root / "models/a/fold-0", root / "models/a/fold-1")
    assert "trained without fold-1, got a copy of the network of fold-0" in faults(root)
    with pytest.raises(InputError, match="must be trained on the current slices and folds"):
        encode_slices(root, ENCODE, fold=1, model="a")


def test_the_newest_does_not_depend_on_file_times(root):
    workspace = Workspace.open(root)
    os.utime(root / "models/b/fold-0" / TENSORS)
    os.utime(root / "encodings/fc6/fold-0/encoding.json")
    assert newest_model(workspace, 0) == root / "models/a/fold-0"
    assert newest(workspace).layer == "conv1"


def test_an_encoding_finished_again_with_other_settings_is_the_newest(root):
    train_network(root, network="small", name="b", epochs=2, fresh=True)
    assert newest_model(Workspace.open(root), 0) == root / "models/b/fold-0"


def test_a_resumed_command_does_not_change_the_order(root):
    before = (root / FILE).read_bytes()
    train_network(root, network="small", name="b", epochs=1)
    encode_slices(root, EncodeSettings(layer="fc6", components=2, dimensions=3, passes=1), model="a")
    assert (root / FILE).read_bytes() == before


def test_without_a_recorded_order_the_user_must_choose(root):
    (root / FILE).unlink()
    workspace = Workspace.open(root)
    with pytest.raises(InputError, match="choose one with `ildfv encode --model`"):
        newest_model(workspace, 0)
    with pytest.raises(InputError, match="choose one with --layer and --fold"):
        newest(workspace)
    assert newest_model(workspace, 0, "a") == root / "models/a/fold-0"
    assert newest(workspace, layer="fc6").layer == "fc6"
    record(workspace, root / "models/b/fold-0" / TENSORS)
    with pytest.raises(InputError, match=f"{FILE} must record which of .*, got no record of models/a/fold-0"):
        newest_model(workspace, 0)


def test_a_file_that_is_not_the_recorded_one_is_a_fault(root):
    listed = json.loads((root / FILE).read_text())
    for row in listed["finished"]:
        row["sha256"] = "0" * 64
    (root / FILE).write_text(json.dumps(listed))
    assert "must have the checksums of the existing files" in faults(root)
    with pytest.raises(InputError, match=r"was finished last, got the checksum of an earlier models/"):
        newest_model(Workspace.open(root), 0)


@pytest.mark.parametrize("content", ["[]", "{}", '{"version": 2}', '{"version": 1, "finished": [{}]}'])
def test_an_invalid_order_file_gives_a_one_line_error_and_is_a_fault(root, content):
    (root / FILE).write_text(content)
    with pytest.raises(InputError, match=FILE):
        newest_model(Workspace.open(root), 0)
    assert FILE in faults(root)


@pytest.mark.parametrize("model", ["models/a/fold-0", "encodings/conv1/fold-0/pca"])
def test_non_finite_weights_are_named_by_verify_and_on_loading(root, model):
    tensors, info = load_model(root / model)
    spoilt = {name: value.copy() for name, value in tensors.items()}
    first = next(name for name, value in spoilt.items() if value.dtype.kind == "f")
    spoilt[first] = np.full_like(spoilt[first], np.nan)
    save_model(root / model, spoilt, info)
    with pytest.raises(InputError, match="must contain finite numbers"):
        load_model(root / model)
    assert "must contain finite numbers, got NaN or infinity" in faults(root)


def test_a_changed_salt_is_named_by_verify_and_by_the_first_command(root):
    settings = root / "workspace.toml"
    settings.write_text(settings.read_text().replace("0123456789abcdef", "fedcba9876543210"))
    with pytest.raises(InputError, match="must contain slices that this version of ildfv prepared with the salt in"):
        make_report(root)
    assert "must have the salt with which" in faults(root)


def test_options_other_than_those_of_the_slices_are_named_by_verify(root):
    settings = root / "workspace.toml"
    settings.write_text(settings.read_text() + "\npixel_size = 0.7\n")
    assert "must be prepared as" in faults(root)
