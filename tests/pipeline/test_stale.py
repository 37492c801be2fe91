"""Models and scores of other folds are not used: neither scored on held-out slices nor shown in the report."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from small import QUICK

from ildfv.errors import InputError
from ildfv.pipeline.encode import EncodeSettings, encode_slices
from ildfv.pipeline.encodings import newest
from ildfv.pipeline.regress import regress_encoding
from ildfv.pipeline.report import make_report
from ildfv.pipeline.score import read_scores, write_scores
from ildfv.pipeline.split import load_folds, split_slices, write_folds
from ildfv.pipeline.train import newest_model, train_network
from ildfv.pipeline.verify import verify_workspace
from ildfv.pipeline.workspace import Workspace
from ildfv.store.atomic import sha256
from ildfv.train import trainer

ENCODE = EncodeSettings(layer="conv1", components=4, dimensions=10, passes=2, tolerance=QUICK)
TRAIN = {"network": "small", "name": "own", "epochs": 1, "batch_size": 8}


@pytest.fixture(scope="module")
def complete(original, tmp_path_factory):
    """A workspace whose network was trained, encoded and regressed."""
    root = Path(shutil.copytree(original, tmp_path_factory.mktemp("complete") / "workspace"))
    train_network(root, **TRAIN)
    encode_slices(root, ENCODE, model="own")
    regress_encoding(root)
    return root


@pytest.fixture
def encoded(complete, tmp_path):
    """A copy that a test may change."""
    return Path(shutil.copytree(complete, tmp_path / "encoded"))


@pytest.fixture
def moved(encoded):
    """A workspace whose folds were replaced after its network was trained and encoded."""
    root = encoded
    before = Workspace.open(root).folds_file.read_text()
    seed = 1
    while (
        json.loads(before)["folds"][0]
        == json.loads(write_folds(Workspace.open(root), seed=seed, fresh=True).to_json())["folds"][0]
    ):
        seed += 1
    return root


def test_a_network_trained_with_other_folds_is_not_used_to_encode(moved):
    with pytest.raises(
        InputError, match=r"must be trained on the current slices and folds.*ildfv train --fold 0 --name own --fresh"
    ):
        encode_slices(moved, EncodeSettings(layer="fc6", components=4), model="own")
    with pytest.raises(InputError, match="must be trained on the current slices and folds"):
        encode_slices(moved, ENCODE, model="own", fresh=True)


def test_an_encoding_made_with_other_folds_is_not_regressed(moved):
    with pytest.raises(InputError, match="made from folds other than the current"):
        regress_encoding(moved)


def test_the_report_omits_scores_of_other_folds_with_a_note(moved):
    first, second = make_report(moved)["notes"]
    assert first.startswith("Not shown are cnn-own-fold-0, fv-conv1-fold-0, because ")
    assert second.startswith("No system has been scored yet")
    train_network(moved, fresh=True, **TRAIN)
    report = make_report(moved)
    assert [d.system for d in report["results"]] == ["cnn-own"]
    assert "fv-conv1-fold-0" in report["notes"][0]


def test_training_again_makes_everything_current(moved):
    with pytest.raises(InputError, match="replace it with `ildfv train --fresh`"):
        train_network(moved, **TRAIN)
    train_network(moved, fresh=True, **TRAIN)
    with pytest.raises(InputError, match=r"was made with .* or repeat the command with --fresh to replace its content"):
        encode_slices(moved, ENCODE, model="own")
    encode_slices(moved, ENCODE, model="own", fresh=True)
    regress_encoding(moved)
    assert len(make_report(moved)["results"]) == 2


def test_scores_record_the_folds_they_were_made_with(root, monkeypatch):
    """Folds may be replaced during training as well, which makes its scores stale."""

    def trained(*arguments, **options):
        train(*arguments, **options)
        write_folds(Workspace.open(root), seed=1, fresh=True)

    train = trainer.train
    monkeypatch.setattr(trainer, "train", trained)
    read = Workspace.open(root).folds_file.read_bytes()
    found = train_network(root, **TRAIN)
    assert found.settings["folds"] == hashlib.sha256(read).hexdigest()
    assert make_report(root)["results"] == []


@pytest.mark.parametrize("change", [{"key": "another"}, {"parts": []}])
@pytest.mark.parametrize("name", ["projection", "fisher"])
def test_parts_of_other_slices_are_refused(encoded, name, change):
    encoding = newest(Workspace.open(encoded))
    manifest = encoding.folder / name / "manifest.json"
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(content | change))
    read = {"projection": lambda: regress_encoding(encoded), "fisher": lambda: encoding.fisher_vectors("any")}[name]
    with pytest.raises(InputError, match=rf"{name}.manifest.json must list \d+ slices with the key .*, got "):
        read()


def test_fresh_keeps_a_training_of_the_same_settings(encoded):
    """Otherwise a run that torchrun or the user restarts would delete its own results."""
    model = encoded / "models/own/fold-0/model.safetensors"
    made = model.stat().st_mtime_ns
    train_network(encoded, fresh=True, **TRAIN)
    assert model.stat().st_mtime_ns == made
    train_network(encoded, fresh=True, **TRAIN | {"epochs": 2})
    assert model.stat().st_mtime_ns > made


def test_scores_of_another_run_are_not_shown_with_a_document(encoded):
    table = encoded / "results/cnn-own-fold-0.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines[:-1], lines[-1].replace(",", ",1", 1)]) + "\n")
    with pytest.raises(InputError, match=r"cnn-own-fold-0\.csv must contain the scores that"):
        make_report(encoded)
    assert "must contain the scores that" in verify_workspace(encoded)["faults"][0]


def test_scores_on_disk_equal_those_that_were_evaluated(root):
    workspace = Workspace.open(root)
    slices = workspace.slices()
    split = split_slices(slices, load_folds(workspace), 0)
    scores = np.random.default_rng(0).normal(size=(len(split.test), 4))
    workspace.results_dir.mkdir()
    path = write_scores(workspace, "any", slices, split, scores)
    _, found = read_scores(workspace, "any", sha256(path))
    np.testing.assert_array_equal(found, scores)


def test_the_report_omits_scores_with_another_threshold(encoded):
    path = encoded / "workspace.toml"
    threshold = Workspace.open(encoded).settings.threshold
    path.write_text(path.read_text().replace(f"threshold = {threshold}", f"threshold = {threshold + 1}"))
    report = make_report(encoded)
    assert report["results"] == []
    assert "the threshold T have changed" in report["notes"][0]


@pytest.mark.parametrize("name", ["a/b", "../out", "/abs", "..", "."])
def test_a_model_name_must_be_a_single_folder_name(root, name):
    with pytest.raises(InputError, match="name must be a folder name"):
        train_network(root, **TRAIN | {"name": name})
    with pytest.raises(InputError, match="name must be a folder name"):
        encode_slices(root, ENCODE, model=name)


def test_a_name_with_brackets_is_found_again(root):
    train_network(root, **TRAIN | {"name": "m[1]"})
    assert newest_model(Workspace.open(root), 0, "m[1]").parent.name == "m[1]"
