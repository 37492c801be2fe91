"""Intervals and tests: the algebra equals recomputing from resampled slices, and the statistics keep their promises."""

import numpy as np
import pytest
import sklearn.metrics as sk

from ildfv.evaluation.documents import PairedTest
from ildfv.evaluation.intervals import Auc, Mean, Ratio, bootstrap, by_patient, interval, paired, resampled


def scored(seed, n_patients=12, effect=1.0, shift=0.0):
    """truth, scores, patient number; patients differ in prevalence and level, slices within one are alike."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(n_patients), rng.integers(3, 12, n_patients))
    truth = rng.random(len(patient)) < rng.beta(1, 1, n_patients)[patient]
    scores = rng.normal(size=len(patient)) + effect * truth + rng.normal(size=n_patients)[patient] * 0.5 + shift
    return truth, np.round(scores, 1), patient


def f_measure(truth, predicted, patient, n):
    return Ratio(
        2 * by_patient(truth & predicted, patient, n), by_patient(truth, patient, n) + by_patient(predicted, patient, n)
    )


def test_each_resample_equals_the_metric_on_repeated_slices():
    truth, scores, patient = scored(0)
    weights = resampled(12, 40, seed=1)
    auc = Auc.of(scores, truth, patient, 12)(weights)
    f = f_measure(truth, scores > 0.5, patient, 12)(weights)
    for row, a, b in zip(weights, auc, f, strict=True):
        index = np.repeat(np.arange(len(patient)), row[patient].astype(int))
        assert a == pytest.approx(sk.roc_auc_score(truth[index], scores[index]))
        assert b == pytest.approx(sk.f1_score(truth[index], scores[index] > 0.5))


def test_a_resample_of_folds_equals_the_pairs_within_them():
    truth, scores, patient = scored(0)
    fold = np.arange(12) % 3
    weights = resampled(12, 20, seed=1)
    found = Auc.of(scores, truth, patient, 12, fold)(weights)
    for row, value in zip(weights, found, strict=True):
        index = np.repeat(np.arange(len(patient)), row[patient].astype(int))
        wins = pairs = 0.0
        for one in range(3):
            mine = index[fold[patient[index]] == one]
            n = truth[mine].sum() * (~truth[mine]).sum()
            if n:
                wins, pairs = wins + n * sk.roc_auc_score(truth[mine], scores[mine]), pairs + n
        assert value == pytest.approx(wins / pairs)


def test_patients_are_drawn_with_replacement_by_seed():
    weights = resampled(9, 300, seed=3)
    assert set(weights.sum(1)) == {9}
    np.testing.assert_array_equal(weights, resampled(9, 300, seed=3))
    assert (weights != resampled(9, 300, seed=4)).any()


def test_repeating_slices_does_not_make_the_interval_narrower():
    truth, scores, patient = scored(2)
    weights = resampled(12, 500)
    once = bootstrap(Auc.of(scores, truth, patient, 12), weights)
    ten = bootstrap(Auc.of(np.tile(scores, 10), np.tile(truth, 10), np.tile(patient, 10), 12), weights)
    np.testing.assert_allclose(once, ten)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(200):
        values = rng.normal(size=60)  # one number per patient, true mean 0
        low, high = bootstrap(Ratio(values, np.ones(60)), resampled(60, 400, seed=seed))
        hits += low <= 0 <= high
    assert 0.90 <= hits / 200 <= 0.99


def test_too_often_undefined_gives_no_interval():
    assert interval(np.array([np.nan] * 11 + [0.5] * 89)) is None
    assert interval(np.array([np.nan] * 9 + [0.5] * 91)) == (0.5, 0.5)
    assert bootstrap(Ratio(np.ones(1), np.ones(1)), resampled(1, 10)) is None
    lone = Ratio(np.eye(5)[0], np.eye(5)[0])  # a pattern of one patient: a third of all resamples lack it
    assert bootstrap(lone, resampled(5, 500)) is None


def test_a_system_does_not_differ_from_itself():
    truth, scores, patient = scored(4)
    auc = Auc.of(scores, truth, patient, 12)
    result = paired(auc, auc, 12, n_resamples=200)
    assert result == PairedTest(difference=0.0, interval=(0.0, 0.0), p=1.0)


def test_swapping_patients_equals_swapping_their_slices():
    truth, a, patient = scored(5)
    _, b, _ = scored(5, effect=0.2, shift=3)
    first, second = Auc.of(a, truth, patient, 12), Auc.of(b, truth, patient, 12)
    own = np.random.default_rng(0).integers(0, 2, (20, 12)).astype(float)
    for row, value in zip(own, first.mixed(second, own), strict=True):
        mixed = np.where(row[patient] == 1, first.ranks, second.ranks)
        assert value == pytest.approx(sk.roc_auc_score(truth, mixed))


def test_a_clear_difference_is_found_and_its_sign_is_a_minus_b():
    truth, good, patient = scored(6, n_patients=30, effect=4.0)
    bad = np.random.default_rng(1).normal(size=len(truth))
    result = paired(Auc.of(good, truth, patient, 30), Auc.of(bad, truth, patient, 30), 30, n_resamples=500)
    assert result.difference > 0.2
    assert result.interval[0] > 0
    assert result.p < 0.01


def test_the_permutation_test_is_exact_for_few_patients():
    a, b = Ratio(np.array([3.0, 3, 3, 3]), np.full(4, 3.0)), Ratio(np.array([1.0, 1, 1, 1]), np.full(4, 3.0))
    assert paired(a, b, 4).p == 2 / 16  # only "all as they are" and "all swapped" are as extreme


def test_the_permutation_test_keeps_its_level():
    rng = np.random.default_rng(7)
    p = []
    for seed in range(200):
        level = rng.normal(size=20)
        a, b = (Ratio(level + rng.normal(size=20), np.ones(20)) for _ in range(2))
        p.append(paired(a, b, 20, n_resamples=200, seed=seed).p)
    assert 0.01 <= np.mean(np.array(p) <= 0.05) <= 0.10


def test_undefined_differences_are_none():
    nothing = Ratio(np.zeros(3), np.zeros(3))
    assert paired(nothing, nothing, 3) == PairedTest(difference=None, interval=None, p=None)


def test_resamples_without_a_positive_say_nothing_of_f():
    tp, calls, cases = np.array([3.0, 0, 0, 0]), np.array([3.0, 1, 1, 1]), np.array([3.0, 0, 0, 0])
    f = Ratio(2 * tp, calls + cases, needed=cases)
    weights = np.array([[2.0, 1, 1, 0], [0.0, 2, 1, 1]])
    np.testing.assert_allclose(f(weights), [12 / 14, np.nan])


def test_a_mean_is_undefined_where_one_of_its_measures_is():
    weights = np.array([[1.0, 1, 1], [1.0, 0, 2]])
    whole, lone = Ratio(np.ones(3), np.ones(3)), Ratio(np.array([0, 0.5, 0]), np.array([0, 1.0, 0]))
    np.testing.assert_allclose(Mean((whole, lone))(weights), [0.75, np.nan])
    assert np.isnan(Mean(())(weights)).all()
