"""Labels of scans through the pipeline: fitted as bags, measured per scan, and refused where slices need labels."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scan_files import ScanFiles
from small import QUICK, scan
from test_regions import BOTTOM, LEFT, RIGHT, TOP
from typer.testing import CliRunner

from ildfv.cli.app import app
from ildfv.datasets.scan_labels import ScanLabels
from ildfv.datasets.slice_store import write_scan
from ildfv.errors import InputError
from ildfv.estimators.bags import POOLINGS, pooled
from ildfv.evaluation.metrics import roc_auc
from ildfv.inference.predictor import Predictor
from ildfv.patterns import PATTERNS, UNLABELLED, presence
from ildfv.pipeline import recipes
from ildfv.pipeline.baseline_features import NAMES, features, percentile_of, scan_features
from ildfv.pipeline.baselines import score_baselines
from ildfv.pipeline.by_scan import scans_of
from ildfv.pipeline.encode import EncodeSettings, encode_slices
from ildfv.pipeline.encodings import newest
from ildfv.pipeline.export import export_predictor
from ildfv.pipeline.recipes import fit
from ildfv.pipeline.regress import regress_encoding
from ildfv.pipeline.report import make_report
from ildfv.pipeline.score import read_scores
from ildfv.pipeline.split import load_folds, split_slices, write_folds
from ildfv.pipeline.system_names import regression_folder
from ildfv.pipeline.tables import slice_statistics
from ildfv.pipeline.train import train_network
from ildfv.pipeline.verify import verify_workspace
from ildfv.pipeline.workspace import Workspace
from ildfv.scans.density import BINS, COLUMNS, RANGE
from ildfv.store.models import load_info, load_model
from ildfv.store.parts import writing_parts
from ildfv.viewer.workspace_scans import workspace_scans

SCANS, SLICES, UNKNOWN = 24, 6, 3  # the last three scans have no label
EMPHYSEMA = PATTERNS.index("emphysema")


def weak(number):
    """A chest like that of `test_regions`, in which half of the patterns are shown, each on one to three slices."""
    one, random = scan(number), np.random.default_rng([number, 5])
    present = np.zeros((SLICES, 4), bool)
    for k in np.flatnonzero(random.random(4) < 0.5):
        present[random.choice(SLICES, random.integers(1, 4), replace=False), k] = True
    images = random.normal(100, 5, (SLICES, 3, 224, 224))
    for z, k in zip(*np.nonzero(present), strict=True):
        images[z, :, 112 * (k // 2) :, 112 * (k % 2) :][:, :112, :112] += random.normal(10 * k, 40, (3, 112, 112))
    chest = np.clip(random.normal(230, 3, images.shape), 0, 255)
    chest[..., TOP:BOTTOM, LEFT:RIGHT] = images[..., TOP:BOTTOM, LEFT:RIGHT]
    chest[..., :8, :] = chest[..., -8:, :] = chest[..., :, :8] = chest[..., :, -8:] = 0  # air around the body
    density = random.random((SLICES, len(COLUMNS))).astype(np.float32)
    density[:, COLUMNS.index("laa-950")] = 0.02 + 0.2 * present[:, EMPHYSEMA] + random.normal(0, 0.005, SLICES)
    density[:, -BINS:] /= density[:, -BINS:].sum(axis=1, keepdims=True)
    density[0] = np.nan
    return replace(
        one,
        images=np.clip(chest, 0, 255).astype(np.uint8),
        labels=np.zeros_like(one.labels),
        counts=np.full((SLICES, 4), UNLABELLED),
        lung=np.where(np.arange(SLICES) == 0, 0, 30000 + 5000 * np.arange(SLICES)),
        labelled=False,
        density=density,
    ), present


def make(root, unlabelled=()):
    """(workspace labelled by scan, truth of each slice (N, 4)). unlabelled: indices of patterns without labels."""
    workspace = Workspace.open_or_create(root, version="test", salt="0123456789abcdef", folds=4)
    truth, labels = {}, ScanLabels()
    with writing_parts(workspace.slices_dir, workspace.slices_key) as parts:
        for number in range(SCANS):
            one, truth[one.series] = (found := weak(number))[0], found[1]
            parts.add(write_scan(workspace.slices_dir, one))
            if number < SCANS - UNKNOWN:
                labels.presence[one.series] = truth[one.series].any(axis=0).astype(int).tolist()
                for k in unlabelled:
                    labels.presence[one.series][k] = -1
    labels.write(workspace.scan_labels_file)
    write_folds(workspace)
    return workspace, np.concatenate([truth[name] for name in workspace.slices().names])


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make(tmp_path_factory.mktemp("weak") / "study")


@pytest.fixture(scope="module")
def encoded(study):
    encode_slices(
        study[0].root, EncodeSettings(layer="filters", components=4, dimensions=24, passes=2, tolerance=QUICK)
    )
    return study


def test_whole_scans_are_in_the_parts_of_a_split_and_scans_without_label_in_none(study):
    workspace, _ = study
    slices = workspace.slices()
    split = split_slices(slices, load_folds(workspace), 0)
    assert len(split.train) + len(split.test) == (SCANS - UNKNOWN) * SLICES
    for part in (split.fit, split.validation, split.test):
        assert (slices.scan_labels[scans_of(slices, part)] >= 0).all()
    with pytest.raises(InputError, match="scans must be complete"):
        scans_of(slices, split.test[1:])


def test_folds_and_statistics_count_scans(study):
    workspace, _ = study
    table = load_folds(workspace).table()
    assert sum(row["slices"] for row in table) == SCANS - UNKNOWN
    found, labels = slice_statistics(workspace.root), workspace.slices().scan_labels
    assert found["unit"] == "scan"
    assert found["unlabelled_slices"] == UNKNOWN
    assert found["per_pattern"]["emphysema"]["slices"] == (labels[:, EMPHYSEMA] == 1).sum()
    for command, title in (
        ("stats", "Scans and patients per pattern"),
        ("folds", "columns of patterns: number of scans with the pattern"),
    ):
        assert title in CliRunner().invoke(app, [command, "-w", str(workspace.root)], catch_exceptions=False).stdout


def test_counts_are_zero_where_no_slice_of_the_scan_shows_the_pattern(study):
    workspace, truth = study
    slices = workspace.slices()
    known = presence(slices.counts)
    labels = np.repeat(slices.scan_labels, slices.sizes, axis=0)
    assert ((known == 0) == (labels == 0)).all()
    assert (known[labels != 0] == -1).all()
    assert not truth[known == 0].any()


def test_a_share_of_the_lung_of_a_scan_is_that_of_all_its_lung_pixels(study):
    slices = study[0].slices()
    by_slice = features(slices)["laa-950"]
    rows = slice(slices.starts[2], slices.starts[3])
    lung, share = slices.lung[rows].astype(float), by_slice[rows, 0]
    expected = np.nansum(lung * share) / lung.sum()
    assert scan_features(slices, "laa-950", by_slice)[2, 0] == pytest.approx(expected)


def test_p15_of_a_scan_is_interpolated_in_its_histogram():
    shares = np.zeros(BINS)
    shares[[2, 10]] = 0.3, 0.7
    width = (RANGE[1] - RANGE[0]) / BINS
    assert percentile_of(shares) == pytest.approx(RANGE[0] + 2.5 * width)  # half of the 0.3 is below
    assert np.isnan(percentile_of(np.full(BINS, np.nan)))


def test_baselines_are_scored_per_scan(study):
    workspace, _ = study
    results = score_baselines(workspace.root, fold=0)
    assert {r.system for r in results} == {f"baseline-{name}" for name in NAMES}
    slices = workspace.slices()
    test = scans_of(slices, split_slices(slices, load_folds(workspace), 0).test)
    for r in results:
        assert (r.unit, r.n_slices) == ("scan", len(test))
        assert r.to_dict()["unit"] == "scan"
        indices, scores = read_scores(workspace, f"{r.system}-fold-0", r.scores_sha256)
        assert indices.tolist() == test.tolist()
        assert scores.shape == (len(test), 4)
    laa = next(r for r in results if r.system == "baseline-laa-950").per_pattern["emphysema"]
    assert laa.auc > 0.9
    assert laa.positives == (slices.scan_labels[test, EMPHYSEMA] == 1).sum()


def test_what_needs_labels_of_slices_is_refused_in_one_line(study):
    workspace, _ = study
    with pytest.raises(InputError, match="train needs labels of slices, got labels of scans: use `ildfv fit`"):
        train_network(workspace.root, network="small")
    with pytest.raises(InputError, match="recipe paper needs labels of slices"):
        fit(workspace.root, recipe="paper")
    with pytest.raises(InputError, match='bags must be noisy-or or max, got "mean"'):
        fit(workspace.root, bags="mean")
    for head in ("linear", "ridge"):
        message = f"head {head} needs labels of slices, got labels of scans: use `ildfv regress --head logistic`"
        with pytest.raises(InputError, match=message):
            regress_encoding(workspace.root, head=head, target="step")
    with pytest.raises(InputError, match="experiment needs labels of slices, got labels of scans: use `ildfv fit`"):
        CliRunner().invoke(app, ["experiment", "losses", "-w", str(workspace.root)], catch_exceptions=False)


def test_bags_are_refused_with_labels_of_slices(tmp_path):
    from test_baselines import make as labelled_by_slice

    workspace = labelled_by_slice(tmp_path / "study")
    with pytest.raises(InputError, match="--bags must be omitted with labels of slices, got max"):
        regress_encoding(workspace.root, head="logistic", bags="max")


def slice_scores(workspace, fold, bags):
    """The scores of all slices by the head on filters without the held-out fold."""
    tensors, info = load_model(regression_folder(workspace.encoding_dir("filters", fold), "logistic", bags))
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
    assert names == {"noisy-or": "fv-filters-logistic", "max": "fv-filters-logistic-max"}
    stored = workspace.results()
    for bags, name in names.items():
        assert stored[f"{name}-fold-0"].settings["regress"]["bags"] == bags
        assert (
            load_info(regression_folder(workspace.encoding_dir("filters", 0), "logistic", bags))["regress"]["bags"]
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


def test_a_missing_system_is_named_by_the_command_that_fits_it(encoded):
    workspace, _ = encoded
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


@pytest.mark.slow
def test_fit_pools_the_folds_of_logistic_heads_and_baselines_per_scan(tmp_path, monkeypatch):
    monkeypatch.setattr(recipes, "FEW_SETTINGS", {"components": 2, "dimensions": 8, "passes": 1})
    monkeypatch.setattr(recipes, "network_available", lambda: False)
    workspace, _ = make(tmp_path / "study")
    found = CliRunner().invoke(
        app, ["fit", "-w", str(workspace.root), "--bags", "max", "--json"], catch_exceptions=False
    )
    result = json.loads(found.stdout)
    assert (result["recipe"], result["unit"], result["scans"]) == ("few", "scan", SCANS - UNKNOWN)
    assert result["slices"] == (SCANS - UNKNOWN) * SLICES
    heads = [name for name in result["systems"] if not name.startswith("baseline-")]
    assert heads
    assert all(name.endswith("-logistic-max") for name in heads)
    assert set(result["systems"][heads[0]]["auc"]) == set(PATTERNS)
    assert result["against_baseline"]
