"""Baselines: densitometry scored like any system, fitted on training patients only, and missing in old parts."""

from dataclasses import replace

import numpy as np
import pytest
from small import PATIENTS, SLICES, scan

from ildfv.datasets.slice_store import write_scan
from ildfv.errors import InputError
from ildfv.patterns import PATTERNS
from ildfv.pipeline.baseline_features import NAMES
from ildfv.pipeline.baselines import fit_baseline, inputs, score_baselines
from ildfv.pipeline.report import make_report
from ildfv.pipeline.split import write_folds
from ildfv.pipeline.workspace import Workspace
from ildfv.scans.density import COLUMNS
from ildfv.store.parts import writing_parts


def dense(number: int):
    """The small scan with a P15 that is lower on slices with emphysema; its first slice has no lung."""
    one = scan(number)
    random = np.random.default_rng([number, 7])
    density = random.random((SLICES, len(COLUMNS))).astype(np.float32)
    shown = one.counts[:, PATTERNS.index("emphysema")] >= 6000
    density[:, COLUMNS.index("p15")] = -850 - 80 * shown + random.normal(0, 5, SLICES)
    density[0] = np.nan
    return replace(one, density=density)


def make(root, make_scan=dense):
    workspace = Workspace.open_or_create(root, version="test", salt="0123456789abcdef", folds=4)
    with writing_parts(workspace.slices_dir, workspace.slices_key) as parts:
        for number in range(PATIENTS):
            parts.add(write_scan(workspace.slices_dir, make_scan(number)))
    write_folds(workspace)
    return workspace


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    workspace = make(tmp_path_factory.mktemp("baselines") / "study")
    return workspace, score_baselines(workspace.root)


def test_all_baselines_are_scored_on_all_folds(scored):
    workspace, results = scored
    assert {(r.system, r.fold) for r in results} == {(f"baseline-{n}", k) for n in NAMES for k in range(4)}
    assert len(workspace.results()) == len(results)


def test_the_sign_of_a_density_measure_is_chosen_on_training_patients(scored):
    _, results = scored
    aucs = [r.per_pattern["emphysema"].auc for r in results if r.system == "baseline-p15"]
    assert np.mean(aucs) > 0.8  # low P15 means emphysema; slices without lung reduce the AUC


def test_the_direction_of_a_single_number_is_that_of_its_training_auc():
    """The mean of the positive slices is lower because of one value, but most of their values are higher."""
    values = np.array([[1.0], [2.0], [3.0], [4.0], [5.0], [6.0], [7.0], [-500.0]])
    truth = np.array([[0.0], [0.0], [0.0], [0.0], [1.0], [1.0], [1.0], [1.0]])
    patients = np.repeat(list("abcd"), 2)
    rows = np.arange(8)
    assert values[4:].mean() < values[:4].mean()
    found = inputs("haa", np.vstack([values, [[0.0], [4.5], [5.5], [9.0], [-900.0], [np.nan]]]), rows)
    scores = fit_baseline("haa", found[rows], truth, patients, 0).predict(found[8:])[:, 0]
    assert scores[4] < scores[0] < scores[1] < scores[2] < scores[3]
    assert np.isfinite(scores).all()


def test_prevalence_has_the_auc_of_chance(scored):
    _, results = scored
    for r in results:
        if r.system == "baseline-prevalence":
            assert {row.auc for row in r.per_pattern.values()} <= {0.5, None}


def test_labels_of_test_patients_change_no_score(scored, tmp_path):
    workspace, _ = scored
    names = workspace.slices().patients
    indices = np.loadtxt(workspace.results_dir / "baseline-p15-fold-0.csv", delimiter=",", skiprows=1, usecols=0)
    tested = set(names[indices.astype(int)])

    def relabelled(number):
        one = dense(number)
        return replace(one, counts=9100 - one.counts) if one.patient in tested else one

    other = make(tmp_path / "other", relabelled)
    (other.folds_file).write_bytes(workspace.folds_file.read_bytes())
    score_baselines(other.root, fold=0)
    for name in NAMES:
        a, b = (w.results_dir / f"baseline-{name}-fold-0.csv" for w in (workspace, other))
        assert a.read_bytes() == b.read_bytes()


def test_the_report_pools_folds_and_labels_a_system_that_does_not_beat_the_best_baseline(scored):
    workspace, _ = scored
    from ildfv.pipeline.score import score
    from ildfv.pipeline.split import load_folds, split_slices

    slices = workspace.slices()
    for fold in range(4):
        split = split_slices(slices, load_folds(workspace), fold)
        noise = np.random.default_rng(fold)
        score(
            workspace,
            slices,
            split,
            system="cnn-guess",
            validation_scores=noise.normal(size=(len(split.validation), 4)),
            test_scores=noise.normal(size=(len(split.test), 4)),
            settings={},
        )
    report = make_report(workspace.root)
    (line,) = [
        note for note in report["notes"] if note.startswith("The system cnn-guess does not beat the best baseline")
    ]
    assert "emphysema" in line
    assert len(line) < 160  # one short line; the numbers are in the tables
    page = (workspace.root / "report.html").read_text()
    assert "folds 0, 1, 2, 3 (pooled)" in page
    assert "cnn-guess − baseline-p15" in page or "baseline-p15 − cnn-guess" in page
    assert "baseline-p15 − baseline-" not in page


def test_parts_without_densities_have_no_densitometry_and_the_remedy_is_given(tmp_path):
    workspace = make(tmp_path / "old", scan)
    with pytest.raises(InputError, match="format 1: prepare the scans into a new workspace"):
        workspace.slices().densities()
    assert {r.system for r in score_baselines(workspace.root, fold=0)} == {"baseline-lung-area", "baseline-prevalence"}
