"""`ildfv fit`: every fold, every system of the recipe, the baselines, and one pooled document."""

import json
from dataclasses import replace

import pytest
from small import PATIENTS, SLICES
from test_baselines import dense, make
from test_regions import chest
from typer.testing import CliRunner

from ildfv.cli.app import app
from ildfv.errors import InputError
from ildfv.patterns import PATTERNS
from ildfv.pipeline import recipes
from ildfv.pipeline.baseline_features import NAMES
from ildfv.pipeline.encode import EncodeSettings, encode_slices
from ildfv.pipeline.encodings import Encoding
from ildfv.pipeline.recipes import fit
from ildfv.pipeline.regress import regress_encoding
from ildfv.pipeline.verify import verify_workspace
from ildfv.progress import Silent


def breathing(number):
    """A scan with a lung and its densitometry."""
    return replace(chest(number), density=dense(number).density)


TINY = {"components": 2, "dimensions": 8, "passes": 1}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make(tmp_path_factory.mktemp("recipes") / "study", breathing)


@pytest.mark.slow
def test_layers_without_a_network_are_encoded_in_the_lung_and_scored_with_every_head(study):
    for layer in ("filters", "patches"):
        info = encode_slices(study.root, EncodeSettings(layer=layer, region="lung", **TINY))
        assert info["inputs"]["model"] == "no network"
        assert info["d"] == {"filters": 12, "patches": 24}[layer]
        again = encode_slices(study.root, EncodeSettings(layer=layer, region="lung", **TINY))
        assert again == info
        for head in ("linear", "ridge", "logistic"):
            results = regress_encoding(study.root, layer=layer, region="lung", head=head)
            assert results.system == f"fv-{layer}-lung" + ("" if head == "linear" else f"-{head}")
    assert (
        regress_encoding(study.root, layer="filters", region="lung", target="fraction").settings["regress"]["target"]
        == "fraction"
    )
    assert (Encoding(study.encoding_dir("patches", 0, "lung")).folder / "descriptors").is_dir()
    assert verify_workspace(study.root)["faults"] == []


def test_options_that_do_not_apply_are_refused(study):
    with pytest.raises(InputError, match='layer "filters" needs no network, got --model'):
        encode_slices(study.root, EncodeSettings(layer="filters", **TINY), model="small")
    for options, message in (
        ({"head": "forest"}, "head must be one of linear, ridge, logistic"),
        ({"head": "ridge", "ridge": 3.0}, 'ridge must be auto with head "ridge"'),
        ({"head": "logistic", "target": "step"}, 'target must be omitted with head "logistic"'),
    ):
        with pytest.raises(InputError, match=message):
            regress_encoding(study.root, layer="filters", region="lung", **options)
    with pytest.raises(InputError, match="recipe must be one of auto, few, paper"):
        fit(study.root, recipe="many")


def test_auto_states_that_options_of_training_are_not_used(study, monkeypatch):
    found = []
    progress = Silent()
    monkeypatch.setattr(progress, "note", found.append)
    for name in ("_few", "score_baselines"):
        monkeypatch.setattr(recipes, name, lambda *arguments, **options: None)
    monkeypatch.setattr(recipes, "summary", lambda workspace, slices: {})
    assert fit(study.root, patience=3, epochs=2, progress=progress)["recipe"] == "few"
    assert (
        "recipe few trains no network, so --epochs and --patience have no effect: use --recipe paper to train one"
        in found
    )
    found.clear()
    fit(study.root, progress=progress)
    assert not any("trains no network" in text for text in found)


@pytest.mark.slow
def test_few_runs_all_folds_and_pools_them(tmp_path):
    workspace = make(tmp_path / "study", breathing)
    workspace.folds_file.unlink()
    found = CliRunner().invoke(app, ["fit", "-w", str(workspace.root), "--json"], catch_exceptions=False)
    result = json.loads(found.stdout)
    assert result["recipe"] == "few"
    layers = ["filters+patches"]
    if recipes.network_available():
        layers.append(f"filters+patches+{recipes.FEW_NETWORK}-{recipes.FEW_NETWORK_LAYER}")
    heads = {f"fv-{name}-lung-{head}" for name in layers for head in recipes.FEW_HEADS}
    assert set(result["systems"]) == {f"baseline-{name}" for name in NAMES} | heads
    for one in result["systems"].values():
        assert set(one["auc"]) == set(PATTERNS)
    assert (result["slices"], result["patients"]) == (PATIENTS * SLICES, PATIENTS)
    assert {v["system"] for v in result["against_baseline"]} == heads
    assert all({c["a"], c["b"]} & heads for c in result["comparisons"])


@pytest.mark.slow
def test_fresh_replaces_encodings_with_other_settings(tmp_path, monkeypatch):
    workspace = make(tmp_path / "study", breathing)
    monkeypatch.setattr(recipes, "network_available", lambda: False)
    encode_slices(workspace.root, EncodeSettings(layer="filters", region="lung", components=4, dimensions=8, passes=1))
    monkeypatch.setattr(recipes, "FEW_SETTINGS", TINY)
    with pytest.raises(InputError, match=r"components = 4, now 2: .* or repeat the command with --fresh"):
        fit(workspace.root, recipe="few")
    assert "fv-filters+patches-lung-ridge" in fit(workspace.root, recipe="few", fresh=True)["systems"]
    assert Encoding(workspace.encoding_dir("filters", 0, "lung")).info["inputs"]["components"] == 2
