"""Every fitted system can be exported: with untrained or joined layers, frozen networks, and any regression."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "pipeline"))

from small import scan
from test_baselines import dense
from test_regions import chest

from ildfv.cli.app import app
from ildfv.datasets.slice_store import write_scan
from ildfv.errors import InputError
from ildfv.evaluation.thresholds import Decisions
from ildfv.inference import slice_predictor as module
from ildfv.inference.predictor import Predictor
from ildfv.inference.predictor_location import CARD, TENSORS
from ildfv.pipeline.encode import EncodeSettings, encode_slices
from ildfv.pipeline.export import export_predictor
from ildfv.pipeline.regress import regress_encoding
from ildfv.pipeline.score import read_scores
from ildfv.pipeline.split import labelled_presence, write_folds
from ildfv.pipeline.train import train_network
from ildfv.pipeline.verify import verify_workspace
from ildfv.pipeline.workspace import Workspace
from ildfv.scans.density import COLUMNS
from ildfv.store.parts import writing_parts
from ildfv.train.networks import build, save, tensors

TINY = EncodeSettings(layer="filters", components=2, dimensions=4, passes=1, batch_size=4, region="lung")
PATIENTS = 6
FEW = "filters+patches"


def workspace_of(root: Path, make) -> Workspace:
    """Six patients of three slices in two folds."""
    workspace = Workspace.open_or_create(root, version="test", salt="0123456789abcdef", folds=2)
    with writing_parts(workspace.slices_dir, workspace.slices_key) as parts:
        for number in range(PATIENTS):
            one = make(number)
            rows = slice(0, 3)
            one = replace(
                one, images=one.images[rows], labels=one.labels[rows], counts=one.counts[rows], lung=one.lung[rows],
                positions=one.positions[rows], density=dense(number).density[rows],
                hu=None if one.hu is None else one.hu[rows],
            )  # fmt: skip
            parts.add(write_scan(workspace.slices_dir, one))
    write_folds(workspace)
    return workspace


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """A workspace in which the recipe for few slices is fitted on fold 1."""
    workspace = workspace_of(tmp_path_factory.mktemp("few") / "study", chest)
    fit_fold(workspace, 1)
    return workspace


def fit_fold(workspace: Workspace, fold: int) -> None:
    for layer in ("filters", "patches"):
        encode_slices(workspace.root, replace(TINY, layer=layer), fold=fold)
    for head in ("ridge", "logistic"):
        regress_encoding(workspace.root, layer=FEW, region="lung", fold=fold, head=head)


@pytest.fixture(scope="module")
def predictor(few, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "predictor"
    result = CliRunner().invoke(app, ["export", "-w", str(few.root), "--out", str(out)])
    assert result.exit_code == 0, result.output
    return out


def densities(workspace: Workspace, indices) -> dict[str, np.ndarray]:
    """The further inputs of heads."""
    return dict(zip(COLUMNS, workspace.slices().densities()[indices].T, strict=True))


def stored(workspace: Workspace, system: str, fold: int):
    path = workspace.results_dir / f"{system}-fold-{fold}.json"
    return read_scores(workspace, path.stem, json.loads(path.read_text())["scores_sha256"])


@pytest.mark.slow
def test_the_recipe_few_is_exported_with_both_heads_on_shared_encodings(predictor):
    info = Predictor.load(predictor).info
    assert [head.name for head in info.heads] == [f"fv-{FEW}-lung-ridge", f"fv-{FEW}-lung-logistic"]
    assert info.primary == info.heads[0].name
    assert list(info.encodings) == ["filters-lung", "patches-lung"]
    names = load_file(predictor / TENSORS)
    assert sum(name.startswith("encoding.patches-lung.mixture.means") for name in names) == 1
    assert info.training["held_out_fold"] == 1


@pytest.mark.parametrize("batch", [1, 4, 16])
def test_scores_of_joined_layers_are_those_of_regress_for_any_batch_size(few, predictor, monkeypatch, batch):
    monkeypatch.setattr(module, "BATCH", batch)
    loaded = Predictor.load(predictor)
    indices, _ = stored(few, f"fv-{FEW}-lung-ridge", 1)
    found = loaded.scores(few.slices().images(indices), 0.5, densities(few, indices))
    for name, scores in found.items():
        np.testing.assert_allclose(scores, stored(few, name, 1)[1], atol=1e-6)


@pytest.mark.parametrize("head", ["ridge", "logistic"])
def test_contributions_of_joined_layers_add_up_to_the_linear_score(few, predictor, head):
    loaded, name = Predictor.load(predictor), f"fv-{FEW}-lung-{head}"
    images, inputs = few.slices().images(np.arange(2)), densities(few, np.arange(2))
    maps, fitted = loaded.contributions(images, 0.5, name), loaded.fisher_head(name)
    expected = loaded.scores(images, 0.5, inputs)[name] - fitted.offset - fitted.input_part(inputs, 2)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(maps.sum(axis=(2, 3)), expected, rtol=1e-5, atol=1e-5)


def test_inputs_in_addition_to_projections_are_an_affine_part_of_the_score(predictor):
    loaded = Predictor.load(predictor)
    one = loaded.info.heads[0]
    changed = one.model_copy(update={"inputs": ["p15", "haa"], "fill": [-900.0, 0.1]})
    info = loaded.info.model_copy(update={"heads": [changed]})
    values = dict(loaded.tensors)
    extra = np.arange(8.0).reshape(4, 2)
    width = values[f"head.{one.name}.coef"].shape[1] - len(one.inputs)
    projections = values[f"head.{one.name}.coef"][:, :width]
    values[f"head.{one.name}.coef"] = np.concatenate([projections, extra], axis=1)
    images = np.random.default_rng(0).integers(0, 255, (3, 3, 224, 224), dtype=np.uint8)
    nothing = {"inputs": ["p15", "haa"], "fill": [0.0, 0.0]}
    without = info.model_copy(update={"heads": [one.model_copy(update=nothing)]})
    none = {"p15": np.full(3, np.nan), "haa": np.full(3, np.nan)}
    plain = Predictor(without, values, checksum="").scores(images, 0.5, none)[one.name]
    inputs = {"p15": np.array([-950.0, np.nan, -800.0]), "haa": np.array([0.2, np.nan, 0.3])}
    found = Predictor(info, values, checksum="").scores(images, 0.5, inputs)[one.name]
    filled = np.array([[-950.0, 0.2], [-900.0, 0.1], [-800.0, 0.3]])
    np.testing.assert_allclose(found - plain, filled @ extra.T, atol=1e-9)
    with pytest.raises(InputError, match=r"inputs of head .* must be given, got none for haa"):
        Predictor(info, values, checksum="").scores(images, 0.5, {"p15": inputs["p15"]})


@pytest.mark.slow
def test_export_fits_all_patients_and_takes_decisions_from_cross_validation(few, tmp_path):
    workspace = Workspace.open(shutil.copytree(few.root, tmp_path / "study"))
    fit_fold(workspace, 0)
    info = export_predictor(workspace.root, tmp_path / "predictor", layer=FEW, region="lung", all_patients=True)
    slices = workspace.slices()
    assert info.training["fit_slices"] == len(slices)
    assert info.training["fit_patients"] == PATIENTS
    for head in info.heads:
        assert head.performance.folds == [0, 1]
        assert head.performance.patients == PATIENTS
        indices, scores = zip(*(stored(workspace, head.name, fold) for fold in (0, 1)), strict=True)
        truth = labelled_presence(slices, np.concatenate(indices), head.threshold)
        assert head.thresholds == list(Decisions.fit(truth, np.concatenate(scores)).thresholds)
    card = (tmp_path / "predictor" / CARD).read_text()
    assert "fitted on all 18 slices of 6 patients" in card
    assert "2-fold cross-validation by patient" in card
    given = slices.images(indices[0]), 0.5, densities(workspace, indices[0])
    found = Predictor.load(tmp_path / "predictor").scores(*given)
    assert not np.allclose(found[head.name], scores[0])  # from models fitted without these patients
    assert verify_workspace(workspace.root)["faults"] == []


def test_export_of_all_patients_requires_every_fold(few, tmp_path):
    with pytest.raises(InputError, match=r"-ridge for every fold, got none for 0: run `ildfv reg.* --fold 0`"):
        export_predictor(few.root, tmp_path / "p", layer=FEW, region="lung", head=["ridge"], all_patients=True)


def test_an_unknown_primary_head_is_refused(few, tmp_path):
    with pytest.raises(InputError, match=r'primary must be one of .*logistic, got "x"'):
        export_predictor(few.root, tmp_path / "p", layer=FEW, region="lung", primary="x")


@pytest.fixture(scope="module")
def networked(tmp_path_factory):
    """A workspace with a trained network whose outputs and two layers are scored on fold 0, and a frozen network."""
    root = tmp_path_factory.mktemp("networked")
    workspace = workspace_of(root / "study", scan)
    train_network(workspace.root, network="small", epochs=1, batch_size=8, device="cpu", name="mine")
    values = tensors(build("small", seed=5, n_outputs=10))
    save_file(
        {k.removeprefix("body."): v for k, v in values.items() if k not in ("mean", "std")}, root / "w.safetensors"
    )
    plain = replace(TINY, region="slice")
    for layer in ("conv1", "fc6"):
        encode_slices(workspace.root, replace(plain, layer=layer, components=2), model="mine")
        regress_encoding(workspace.root, layer=layer)
    encode_slices(workspace.root, replace(plain, layer="conv1"), network="small", weights=root / "w.safetensors")
    regress_encoding(workspace.root, layer="small-conv1", head="ridge")
    return workspace, root / "w.safetensors"


def test_layers_and_outputs_of_a_network_are_heads_of_one_predictor(networked, tmp_path):
    workspace, _ = networked
    out = tmp_path / "predictor"
    arguments = ["--layer", "conv1", "--layer", "fc6", "--cnn", "--primary", "cnn-mine", "--out", str(out)]
    result = CliRunner().invoke(app, ["export", "-w", str(workspace.root), *arguments])
    assert result.exit_code == 0, result.output
    loaded = Predictor.load(out)
    assert [head.name for head in loaded.info.heads] == ["cnn-mine", "fv-conv1", "fv-fc6"]
    assert loaded.info.primary == "cnn-mine"
    assert loaded.explained == "fv-conv1"
    for name, scores in loaded.scores(workspace.slices().images(stored(workspace, "fv-fc6", 0)[0]), 0.5).items():
        np.testing.assert_allclose(scores, stored(workspace, name, 0)[1], atol=1e-6)


def test_a_frozen_network_is_included_or_named_by_checksum(networked, tmp_path):
    workspace, weights = networked
    given = {"layer": "small-conv1", "cnn": False}
    with pytest.raises(
        InputError, match=r"needs the weights of small with SHA-256 .*, got none: give the file with --weights"
    ):
        export_predictor(workspace.root, tmp_path / "none", **given)
    export_predictor(workspace.root, tmp_path / "with", weights=[weights], **given)
    export_predictor(workspace.root, tmp_path / "without", weights=[weights], include_weights=False, **given)
    indices, expected = stored(workspace, "fv-small-conv1-ridge", 0)
    images = workspace.slices().images(indices)
    assert not any(".body." in name for name in load_file(tmp_path / "without" / TENSORS))
    with pytest.raises(InputError, match=r"does not contain the weights of its network .*: give the file with SHA-256"):
        Predictor.load(tmp_path / "without")
    for found in (Predictor.load(tmp_path / "with"), Predictor.load(tmp_path / "without", weights=[weights])):
        (scores,) = found.scores(images, 0.5, densities(workspace, indices)).values()
        np.testing.assert_allclose(scores, expected, atol=1e-6)
    assert "are not included: SHA-256" in (tmp_path / "without" / CARD).read_text()


def test_a_system_of_an_earlier_encoding_is_refused(networked, tmp_path):
    workspace, _ = networked
    save(workspace.model_dir("other", 0), build("small", seed=3), {"kind": "network"})
    folder = workspace.encoding_dir("conv1", 0)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    encode_slices(workspace.root, replace(TINY, layer="conv1", region="slice"), model="other", fresh=True)
    kept = {path: content for path, content in before.items() if path.parent.name == "regression"}
    for path, content in kept.items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    with pytest.raises(
        InputError, match=r"must be fitted on the current encoding, which has changed: run `ildfv regress"
    ):
        export_predictor(workspace.root, tmp_path / "p", layer="conv1")
