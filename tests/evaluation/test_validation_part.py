"""The inner split of a fold into fit and validation patients, also in small cohorts."""

from dataclasses import replace

import numpy as np
import pytest
from test_folds import T, cohort

from ildfv.errors import InputError
from ildfv.evaluation.fold_warnings import fold_warnings
from ildfv.evaluation.stratified_folds import make_folds
from ildfv.patterns import PATTERNS, presence


def test_the_inner_split_does_not_depend_on_the_test_fold():
    patients, counts = cohort()
    folds = make_folds(patients, presence(counts, T), labels=PATTERNS, threshold=T)
    other = {
        p: type(v)(v.slices * 7, (0, 0, v.slices * 7, 0)) if folds.fold_of[p] == 1 else v
        for p, v in folds.profiles.items()
    }
    changed = replace(folds, profiles=other)
    for a, b in zip(folds.inner(1, patients), changed.inner(1, patients), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("n_patients", range(3, 12))
def test_folds_are_refused_exactly_where_a_training_side_cannot_be_split(n_patients):
    patients, counts = cohort(n_patients)
    for n_folds in range(2, n_patients + 1):
        if n_patients - -(-n_patients // n_folds) < 2:
            with pytest.raises(InputError, match="--folds must leave"):
                make_folds(patients, presence(counts, T), labels=PATTERNS, threshold=T, n_folds=n_folds)
            continue
        folds = make_folds(patients, presence(counts, T), labels=PATTERNS, threshold=T, n_folds=n_folds)
        assert all(len(side) for k in range(n_folds) for side in folds.inner(k, patients))


def small_cohort(seed):
    """12 patients of 20 slices, patients and presence; each pattern is in about five patients."""
    rng = np.random.default_rng(seed)
    patients = np.repeat([f"p{i:02d}" for i in range(12)], 20)
    return patients, (np.repeat(rng.random((12, 4)) < 0.4, 20, axis=0) & (rng.random((240, 4)) < 0.5)).astype(int)


@pytest.mark.parametrize("seed", range(20))
def test_every_pattern_of_two_training_patients_is_in_fit_and_validation(seed):
    patients, shown = small_cohort(seed)
    folds = make_folds(patients, shown, labels=PATTERNS, threshold=T, seed=seed)
    for k in range(5):
        having = [{*patients[part][shown[part].any(1)]} for part in folds.inner(k, patients)]
        assert all(having)
        for c in range(4):
            fit, validation = ({*patients[part][shown[part, c] == 1]} for part in folds.inner(k, patients))
            assert len(fit | validation) < 2 or (fit and validation)


def test_a_larger_validation_part_is_used_where_patterns_need_it_and_disclosed():
    patients = np.array([f"p{i:02d}" for i in range(12)])
    shown = np.zeros((12, 4), int)
    for pattern in range(4):
        # No patient has two patterns, so 20 % of the patients cannot show all patterns.
        shown[3 * pattern : 3 * pattern + 3, pattern] = 1
    folds = make_folds(patients, shown, labels=PATTERNS, threshold=T)
    for k in range(5):
        fit, validation = folds.inner(k, patients)
        assert len(validation) == 4
        assert shown[validation].any(0).all()
        assert shown[fit].any(0).all()
    assert [row["validation"] for row in folds.table()] == [4] * 5
    (line,) = [line for line in fold_warnings(folds) if "are used for validation" in line]  # one line for all folds
    assert line.startswith("more than 20% of the training patients are used for validation")
    assert "4 of 9 training patients if fold " in line


def test_a_pattern_that_cannot_be_on_both_sides_is_disclosed():
    patients = np.array([f"p{i:02d}" for i in range(10)])
    shown = np.zeros((10, 4), int)
    shown[:, 0], shown[3, 1] = 1, 1  # a pattern of one patient cannot be on both sides
    lines = fold_warnings(make_folds(patients, shown, labels=PATTERNS, threshold=T, n_folds=5))
    assert any(
        line.startswith(("no validation slice shows reticular", "no fit slice shows reticular")) for line in lines
    )
    assert not any("ground glass" in line for line in lines)
