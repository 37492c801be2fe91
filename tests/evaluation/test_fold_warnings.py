"""Warnings about folds: patterns that are absent from a fold or its training slices."""

import numpy as np

from ildfv.evaluation.fold_warnings import fold_warnings
from ildfv.evaluation.stratified_folds import make_folds
from ildfv.patterns import PATTERNS, presence

T = 6000


def test_an_absent_pattern_gives_a_warning():
    patients = np.array(list("abcdef"))
    counts = np.zeros((6, 4), int)
    counts[:, 0] = T
    folds = make_folds(patients, presence(counts, T), labels=PATTERNS, threshold=T, n_folds=3)
    assert fold_warnings(folds) == [
        f"no slice shows reticular, honeycomb, emphysema (T = {T} pixels): recall, F and AUC are undefined"
    ]
    assert fold_warnings(folds, "scan") == [
        "no scan shows reticular, honeycomb, emphysema: recall, F and AUC are undefined"
    ]
    assert fold_warnings(folds, pixel_counts=False, unlabelled=["reticular", "emphysema"]) == [
        "no slice has a label of reticular, emphysema, so these are neither learned nor evaluated",
        "no slice shows honeycomb: recall, F and AUC are undefined",
    ]
    counts[0, 1] = T
    folds = make_folds(patients, presence(counts, T), labels=PATTERNS, threshold=T, n_folds=3)
    first, second, *inner = fold_warnings(folds)
    assert first.startswith("no slice of fold ")
    assert " shows reticular: " in first
    assert second.startswith("no slice shows honeycomb, emphysema ")
    assert all(" slice shows reticular if fold " in line and "is held out" in line for line in inner)


def test_patterns_that_no_training_patient_shows_are_in_one_note():
    patients = np.array(list("abcdef"))
    counts = np.zeros((6, 4), int)
    counts[:, 0] = T
    counts[2, 2:] = T
    folds = make_folds(patients, presence(counts, T), labels=PATTERNS, threshold=T, n_folds=3)
    k = folds.fold_of["c"]
    (line,) = [line for line in fold_warnings(folds) if "no training slice" in line]
    assert line.startswith(f"no training slice shows honeycomb or emphysema if fold {k} is held out")
    assert f"AUC and AP of honeycomb and emphysema are undefined in fold {k}" in line
