"""Labels of scans through the pipeline: fitted as bags, measured per scan, and refused where slices need labels."""

import json

import numpy as np
import pytest
from labelled_scans import EMPHYSEMA, SCANS, SLICES, UNKNOWN, make
from typer.testing import CliRunner

from ildfv.cli.app import app
from ildfv.errors import InputError
from ildfv.patterns import PATTERNS, presence
from ildfv.pipeline import recipes
from ildfv.pipeline.baseline_features import NAMES, features, percentile_of, scan_features
from ildfv.pipeline.baselines import score_baselines
from ildfv.pipeline.by_scan import scans_of
from ildfv.pipeline.recipes import fit
from ildfv.pipeline.regress import regress_encoding
from ildfv.pipeline.score import read_scores
from ildfv.pipeline.split import load_folds, split_slices
from ildfv.pipeline.tables import slice_statistics
from ildfv.pipeline.train import train_network
from ildfv.scans.density import BINS, RANGE


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make(tmp_path_factory.mktemp("weak") / "study")


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
        ("folds", "The columns of patterns contain the number of scans with the pattern."),
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
