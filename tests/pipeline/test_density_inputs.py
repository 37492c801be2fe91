"""Lung densities as inputs of heads: used where held-out patients favour them, and stored with the head."""

import numpy as np
import pytest
from small import PATIENTS
from test_baselines import make

from ildfv.estimators.head_choice import fit_chosen_head
from ildfv.patterns import PATTERNS
from ildfv.pipeline.density_inputs import CANDIDATES, NONE, Standard
from ildfv.pipeline.encode import EncodeSettings, encode_slices
from ildfv.pipeline.encodings import Encoding
from ildfv.pipeline.regress import regress_encoding
from ildfv.pipeline.split import load_folds, split_slices
from ildfv.scans.density import COLUMNS
from ildfv.store.models import load_model

EMPHYSEMA = PATTERNS.index("emphysema")


def problem(seed=0, n=120):
    """Two outputs: the first depends on the first block of ten features only, the second on the last feature only."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, 12))
    y = np.column_stack([x[:, 0] + x[:, 1] > 0, x[:, 11] > 0]).astype(float)
    y[::7, 0] = np.nan
    return x, y, np.arange(n) // 4


@pytest.mark.parametrize("kind", ["ridge", "logistic"])
def test_each_output_uses_the_features_that_predict_held_out_groups(kind):
    x, y, groups = problem()
    candidates = {"first": np.repeat([1.0, 0.0], [10, 2]), "last": np.repeat([0.0, 1.0], [10, 2])}
    found = fit_chosen_head(kind, x, y, groups, candidates=candidates)
    assert found.names == ("first", "last")
    assert (found.head.coef[0, 10:] == 0).all()
    assert (found.head.coef[1, :10] == 0).all()
    known = np.isfinite(y)
    for c, scores in enumerate(found.head.predict(x).T):
        assert np.mean((scores > np.median(scores))[known[:, c]] == y[known[:, c], c]) > 0.85
        assert np.corrcoef(scores, found.head.held_out[:, c])[0, 1] > 0.9


def test_a_scale_changes_the_penalty_and_not_the_unit_of_a_coefficient():
    x, y, groups = problem()
    found = fit_chosen_head("ridge", x, y, groups, candidates={"scaled": np.repeat([1.0, 100.0], [11, 1])})
    assert found.head.coef[1, 11] == pytest.approx(0.39, abs=0.1)  # for a step function of a normal feature


def test_an_output_without_labels_is_constant():
    x, y, groups = problem()
    y[:, 0] = np.nan
    found = fit_chosen_head("logistic", x, y, groups, candidates={"all": np.ones(12)})
    assert np.ptp(found.head.predict(x)[:, 0]) == 0


def test_slices_without_lung_have_the_mean_of_the_training_slices():
    values = np.random.default_rng(0).normal(5, 3, (40, len(COLUMNS)))
    values[7] = np.nan
    standard = Standard.fit(values)
    found = standard.transform(values)
    assert (found[7] == 0).all()
    others = np.delete(found, 7, axis=0)
    assert np.allclose(others.mean(axis=0), 0)
    assert others[:, :4].var(axis=0).sum() == pytest.approx(1)
    assert others[:, 4:].var(axis=0).sum() == pytest.approx(1)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    workspace = make(tmp_path_factory.mktemp("density") / "study")
    encode_slices(workspace.root, EncodeSettings(layer="filters", components=2, dimensions=4, passes=1))
    return workspace


def test_the_saved_head_reproduces_the_scores_from_projections_and_densities(study):
    results = regress_encoding(study.root, layer="filters", head="logistic")
    assert results.settings["regress"]["used"]["emphysema"] != NONE  # P15 of this study depends on emphysema
    encoding = Encoding(study.encoding_dir("filters", 0))
    tensors, info = load_model(encoding.folder / "regression-logistic")
    assert info["inputs"]["density"] == list(COLUMNS)
    (one,) = info["inputs"]["encodings"]
    slices = study.slices()
    z = np.nan_to_num((slices.densities() - tensors["density_mean"]) / tensors["density_scale"], nan=0.0)
    inputs = np.concatenate([encoding.projections() / one["scale"], z], axis=1)
    scores = inputs @ tensors["coef"].T + tensors["intercept"]
    table = np.loadtxt(
        study.results_dir / "fv-filters-logistic-fold-0.csv", delimiter=",", skiprows=1, usecols=[0, 5, 6, 7, 8]
    )
    assert np.allclose(scores[table[:, 0].astype(int)], table[:, 1:], atol=1e-5)


@pytest.mark.slow
def test_densities_of_test_patients_change_nothing_that_is_fitted(study, tmp_path):
    from dataclasses import replace

    from test_baselines import dense

    split = split_slices(study.slices(), load_folds(study), 0)
    tested = set(study.slices().patients[split.test].tolist())

    def changed(number):
        one = dense(number)
        return replace(one, density=one.density * 3) if one.patient in tested else one

    other = make(tmp_path / "other", changed)
    other.folds_file.write_bytes(study.folds_file.read_bytes())
    encode_slices(other.root, EncodeSettings(layer="filters", components=2, dimensions=4, passes=1))
    heads = []
    for workspace in (study, other):
        regress_encoding(workspace.root, layer="filters", head="ridge", target="step")
        heads.append(load_model(workspace.encoding_dir("filters", 0) / "regression-ridge")[0])
    assert all(np.array_equal(heads[0][name], heads[1][name]) for name in heads[0])
    assert 0 < len(tested) < PATIENTS


def test_with_density_off_only_projections_are_used(study):
    regress_encoding(study.root, layer="filters", head="ridge", target="step", density="off")
    tensors, info = load_model(study.encoding_dir("filters", 0) / "regression-ridge-density-off")
    assert info["inputs"]["density"] == []
    assert set(tensors) == {"coef", "intercept"}
    assert tensors["coef"].shape == (4, info["inputs"]["encodings"][0]["dimensions"])
    assert set(info["regress"]["used"].values()) == {NONE}
    assert next(iter(CANDIDATES)) == NONE


def test_inputs_that_gain_too_little_are_not_used():
    x, y, groups = problem()
    candidates = {"all": np.ones(12), "without one": np.r_[np.ones(9), 0, 1, 1]}
    assert fit_chosen_head("ridge", x, y, groups, candidates=candidates).names == ("all", "all")
    wanted = {"last": np.repeat([0.0, 1.0], [10, 2]), "first": np.repeat([1.0, 0.0], [10, 2])}
    assert fit_chosen_head("ridge", x, y, groups, candidates=wanted, gain=0.99).names == ("last", "last")
