"""Systems fitted to labels of scans: pooling of slice scores, predictors, and what all documents state."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from labelled_scans import make
from scan_files import ScanFiles
from small import QUICK
from typer.testing import CliRunner

from ildfv.cli.app import app
from ildfv.errors import InputError
from ildfv.estimators.bags import POOLINGS, pooled
from ildfv.evaluation.metrics import roc_auc
from ildfv.inference.predictor import Predictor
from ildfv.patterns import PATTERNS
from ildfv.pipeline.baselines import score_baselines
from ildfv.pipeline.encode import EncodeSettings, encode_slices
from ildfv.pipeline.encodings import newest
from ildfv.pipeline.export import export_predictor
from ildfv.pipeline.regress import regress_encoding
from ildfv.pipeline.report import make_report
from ildfv.pipeline.score import read_scores
from ildfv.pipeline.split import load_folds, split_slices
from ildfv.pipeline.system_names import Choices, regression_folder
from ildfv.pipeline.verify import verify_workspace
from ildfv.store.models import load_info, load_model
from ildfv.viewer.workspace_scans import workspace_scans


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make(tmp_path_factory.mktemp("weak") / "study")


@pytest.fixture(scope="module")
def encoded(study):
    encode_slices(
        study[0].root, EncodeSettings(layer="filters", components=4, dimensions=24, passes=2, tolerance=QUICK)
    )
    return study


def logistic(bags):
    return Choices("logistic", bags=bags, density="off")


def slice_scores(workspace, fold, bags):
    """The scores of all slices by the head on filters without the held-out fold."""
    tensors, info = load_model(regression_folder(workspace.encoding_dir("filters", fold), logistic(bags)))
    (one,) = info["inputs"]["encodings"]
    return newest(workspace, fold, "filters").projections() / one["scale"] @ tensors["coef"].T + tensors["intercept"]


@pytest.mark.slow
@pytest.mark.parametrize("bags", POOLINGS)
def test_labels_of_scans_find_the_scans_and_the_slices_of_held_out_patients(encoded, bags):
    workspace, truth = encoded
    results = regress_encoding(workspace.root, layer="filters", head="logistic", bags=bags, density="off")
    assert results.unit == "scan"
    assert results.settings["regress"]["bags"] == bags
    assert results.overall.mean_auc > 0.6  # of five or six scans
    slices = workspace.slices()
    split, scores = split_slices(slices, load_folds(workspace), 0), slice_scores(workspace, 0, bags)
    aucs = [roc_auc(truth[split.test, k].astype(float), scores[split.test, k]) for k in range(4)]
    assert np.mean(aucs) > 0.8
    assert min(aucs) > 0.6
    scans, stored = read_scores(workspace, f"{results.system}-fold-0", results.scores_sha256)
    for scan_number, row in zip(scans, stored, strict=True):
        rows = slice(slices.starts[scan_number], slices.starts[scan_number + 1])
        np.testing.assert_allclose(pooled(bags, scores[rows])[0], row, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_systems_that_pool_in_different_ways_have_their_own_results_models_and_heads(encoded, tmp_path):
    workspace, _ = encoded
    given = {"layer": "filters", "head": "logistic", "density": "off"}
    found = {bags: regress_encoding(workspace.root, bags=bags, **given) for bags in POOLINGS}
    names = {bags: one.system for bags, one in found.items()}
    assert names == {"noisy-or": "fv-filters-logistic-density-off", "max": "fv-filters-logistic-max-density-off"}
    stored = workspace.results()
    for bags, name in names.items():
        assert stored[f"{name}-fold-0"].settings["regress"]["bags"] == bags
        assert (
            load_info(regression_folder(workspace.encoding_dir("filters", 0), logistic(bags)))["regress"]["bags"]
            == bags
        )
    page = Path(make_report(workspace.root)["report"]).read_text()
    assert all(f">{name}<" in page for name in names.values())
    info = export_predictor(workspace.root, tmp_path / "both", layer="filters")
    assert {head.name: head.bags for head in info.heads} == {name: bags for bags, name in names.items()}
    export = [
        "export",
        "-w",
        str(workspace.root),
        "--layer",
        "filters",
        "--bags",
        "max",
        "--out",
        str(tmp_path / "max"),
    ]
    CliRunner().invoke(app, export, catch_exceptions=False)
    assert [head.name for head in Predictor.load(tmp_path / "max").info.heads] == [names["max"]]


def test_a_missing_system_is_named_by_the_command_that_fits_it(tmp_path):
    workspace, _ = make(tmp_path / "study", scans=12)
    encode_slices(workspace.root, EncodeSettings(layer="filters", components=2, dimensions=4, passes=1))
    how = r"run `ildfv regress --layer filters --head ridge --bags max --fold 0`"
    with pytest.raises(InputError, match=how):
        export_predictor(workspace.root, workspace.root / "none", layer="filters", head=["ridge"], bags="max")


@pytest.mark.slow
def test_a_predictor_pools_the_scores_of_slices_as_it_was_fitted(encoded, tmp_path):
    workspace, _ = encoded
    regress_encoding(workspace.root, layer="filters", head="logistic", density="off")
    info = export_predictor(workspace.root, tmp_path / "predictor", layer="filters", bags="noisy-or")
    (head,) = info.heads
    assert head.bags == "noisy-or"
    assert head.performance.unit == "scan"
    assert head.sigmoids == [None] * 4
    card = (tmp_path / "predictor" / "MODEL_CARD.md").read_text()
    assert "| pattern | scans with it |" in card
    assert "Labels and measures apply to scans" in card
    ScanFiles.series(tmp_path / "scan", ScanFiles.chest())
    prediction = Predictor.load(tmp_path / "predictor").predict(tmp_path / "scan")
    answer, document = prediction.head, prediction.to_dict()
    np.testing.assert_allclose(answer.scan_scores, pooled("noisy-or", answer.scores)[0])
    for k, pattern in enumerate(PATTERNS):
        found = document["heads"][head.name]["scan"][pattern]
        assert found["score"] == pytest.approx(answer.scan_scores[k])
        assert found["pooling"] == "noisy-or"
        assert found["present"] == (answer.scan_scores[k] >= head.thresholds[k])
        assert found["present"] >= answer.presence[:, k].any()  # a present slice makes the scan present
        sigmoid = head.scan_sigmoids[k]
        if sigmoid is None:  # too few held-out scans with, or without, the pattern
            assert found["probability"] is None
            assert "calibration needs held-out scans of at least 5 patients" in found["no_probability"]
            continue
        z = sigmoid.slope * answer.scan_scores[k] + sigmoid.intercept
        assert found["probability"] == pytest.approx(1 / (1 + np.exp(-z)))
    assert np.isnan(answer.probability).all()
    assert "pools the scores of slices (noisy-or)" in prediction._repr_html_()
    assert "multiple-instance logistic regression" in prediction.methods


@pytest.mark.slow
def test_a_pattern_without_labels_has_no_score_in_any_document_or_table(tmp_path):
    pattern, k = "honeycomb", PATTERNS.index("honeycomb")
    workspace, _ = make(tmp_path / "study", unlabelled=[k])
    encode_slices(workspace.root, EncodeSettings(layer="filters", components=2, dimensions=8, passes=1))
    given = ["regress", "-w", str(workspace.root), "--layer", "filters", "--head", "logistic", "--density", "off"]
    table = CliRunner().invoke(app, given, catch_exceptions=False).stdout
    assert re.search(r"honeycomb +not labelled", table)
    score_baselines(workspace.root, fold=0)
    for name, results in workspace.results().items():
        assert results.per_pattern[pattern].auc is None
        _, scores = read_scores(workspace, name, results.scores_sha256)
        assert np.isnan(scores[:, k]).all()
        assert np.isfinite(np.delete(scores, k, axis=1)).all()
    assert verify_workspace(workspace.root)["faults"] == []
    make_report(workspace.root)
    info = export_predictor(workspace.root, tmp_path / "predictor", layer="filters")
    assert info.heads[0].unlabelled == [pattern]
    assert f"| {pattern} | not labelled | – | – | – |" in (tmp_path / "predictor" / "MODEL_CARD.md").read_text()
    ScanFiles.series(tmp_path / "scan", ScanFiles.chest())
    given = [
        "predict",
        str(tmp_path / "scan"),
        "--predictor",
        str(tmp_path / "predictor"),
        "--out",
        str(tmp_path / "a"),
    ]
    shown = CliRunner().invoke(app, given, catch_exceptions=False).stdout
    assert re.search(r"honeycomb +not labelled", shown)
    assert "The training data have no labels of honeycomb." in " ".join(shown.split())
    (answer,) = (tmp_path / "a").iterdir()
    (head,) = json.loads((answer / "prediction.json").read_text())["heads"].values()
    assert set(head["scan"][pattern].values()) == {None}
    assert all(row[k] is None for values in head["per_slice"].values() if values for row in values)
    assert head["scan"]["emphysema"]["score"] is not None
    rows = list(csv.DictReader((answer / "slices.csv").read_text().splitlines()))
    assert {value for row in rows for name, value in row.items() if name.startswith(pattern)} == {""}
    assert "not labelled" in (answer / "prediction.html").read_text()
    assert not list(answer.glob(f"{pattern}-*"))
    assert len(list(answer.glob("*-contributions.nii.gz"))) == 3


@pytest.mark.slow
def test_report_viewer_and_verify_state_that_measures_are_per_scan(encoded):
    workspace, _ = encoded
    regress_encoding(workspace.root, layer="filters", head="logistic", density="off")
    score_baselines(workspace.root, fold=0)
    page = Path(make_report(workspace.root)["report"]).read_text()
    assert "All measures are per scan." in page
    assert "Scans with labels" in page
    assert "covers at least" not in page
    assert "Example slices" not in page
    viewed, _, notes = workspace_scans(workspace)
    assert not any(scan.systems for scan in viewed)
    assert any("scored per scan, because only scans are labelled" in note for note in notes)
    assert verify_workspace(workspace.root)["faults"] == []
    given = ["regress", "-w", str(workspace.root), "--layer", "filters", "--head", "logistic", "--bags", "max"]
    shown = CliRunner().invoke(app, given, catch_exceptions=False).stdout
    assert "measures per scan" in shown
    heading = shown.splitlines()[1]
    assert "scans" in heading
    assert "slices" not in heading
