"""Intervals and tests: equal to recomputation from resampled slices, with the stated coverage and level."""

import numpy as np
import pytest
import sklearn.metrics as sk
from scipy.special import expit, logit
from scipy.stats import beta
from scipy.stats import t as student

from ildfv.evaluation.documents import PairedTest
from ildfv.evaluation.intervals import confidence, paired, paired_over_seeds, resampled
from ildfv.evaluation.measures import Auc, Harmonic, Mean, Ratio, by_patient


def scored(seed, n_patients=12, effect=1.0, shift=0.0):
    """(truth, scores, patient number); patients differ in prevalence and level, slices of a patient are similar."""
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
        assert a == pytest.approx(auc_of_copies(truth, scores, patient, row))
        index = np.repeat(np.arange(len(patient)), row[patient].astype(int))
        assert b == pytest.approx(sk.f1_score(truth[index], scores[index] > 0.5))


def auc_of_copies(truth, scores, patient, drawn, fold=None):
    """The AUC of a cohort with `drawn` copies of each patient, computed pair by pair. Two copies of the same patient
    form no pairs with each other, because these pairs only repeat the pairs within that patient."""
    copies = [(p, copy) for p in np.unique(patient) for copy in range(int(drawn[p]))]
    wins = pairs = 0.0
    for p, copy in copies:
        for q, other in copies:
            if (p == q and copy != other) or (fold is not None and fold[p] != fold[q]):
                continue
            positive, negative = scores[truth & (patient == p)], scores[~truth & (patient == q)]
            order = np.sign(positive[:, None] - negative)
            wins, pairs = wins + ((order + 1) / 2).sum(), pairs + order.size
    return wins / pairs


def test_a_resample_of_folds_equals_the_pairs_within_them():
    truth, scores, patient = scored(0)
    fold = np.arange(12) % 3
    weights = resampled(12, 20, seed=1)
    found = Auc.of(scores, truth, patient, 12, fold)(weights)
    for row, value in zip(weights, found, strict=True):
        assert value == pytest.approx(auc_of_copies(truth, scores, patient, row, fold))


def test_patients_are_drawn_with_replacement_by_seed():
    weights = resampled(9, 300, seed=3)
    assert set(weights.sum(1)) == {9}
    np.testing.assert_array_equal(weights, resampled(9, 300, seed=3))
    assert (weights != resampled(9, 300, seed=4)).any()


def test_repeating_slices_does_not_make_the_interval_narrower():
    truth, scores, patient = scored(2)
    weights = resampled(12, 500)
    once = confidence(Auc.of(scores, truth, patient, 12), weights)
    ten = confidence(Auc.of(np.tile(scores, 10), np.tile(truth, 10), np.tile(patient, 10), 12), weights)
    np.testing.assert_allclose(once, ten)


def test_intervals_have_about_their_nominal_coverage():
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(200):
        values = rng.normal(size=60)  # one number per patient, true mean 0
        low, high = confidence(Ratio(values, np.ones(60)), resampled(60, 400, seed=seed), proportion=False)
        hits += low <= 0 <= high
    assert 0.90 <= hits / 200 <= 0.99


@pytest.mark.parametrize("positive", [1, 2, 4, 5, 8])
def test_fewer_than_five_positive_patients_give_no_interval(positive):
    patient = np.repeat(np.arange(40), 6)
    truth = (patient < positive) & (np.arange(240) % 2 == 0)
    scores = np.random.default_rng(0).normal(size=240) + truth
    weights = resampled(40, 300)
    auc, f = Auc.of(scores, truth, patient, 40), f_measure(truth, scores > 0.5, patient, 40)
    f = Ratio(f.numerator, f.denominator, needed=by_patient(truth, patient, 40))
    other = Auc.of(np.random.default_rng(1).normal(size=240) + truth, truth, patient, 40)
    assert auc.patients == f.patients == positive
    found = [confidence(auc, weights), confidence(f, weights), paired(auc, other, 40, n_resamples=300).interval]
    assert all((one is None) == (positive < 5) for one in found)


def test_few_negative_patients_limit_an_auc_as_few_positive_ones_do():
    patient = np.repeat(np.arange(20), 6)
    truth = (patient >= 3) | (np.arange(120) % 2 == 0)
    scores = np.random.default_rng(0).normal(size=120) + truth
    auc = Auc.of(scores, truth, patient, 20)
    assert auc.patients == 3
    assert confidence(auc, resampled(20, 100)) is None


def test_the_interval_is_the_t_interval_of_the_logit():
    truth, scores, patient = scored(8, n_patients=15)
    auc, weights = Auc.of(scores, truth, patient, 15), resampled(15, 500, seed=2)
    value, m = auc(np.ones((1, 15)))[0], auc.patients
    error = np.std(auc(weights), ddof=1) * np.sqrt(m / (m - 1)) / (value * (1 - value))
    expected = expit(logit(value) + student.ppf([0.025, 0.975], m - 1) * error)
    np.testing.assert_allclose(confidence(auc, weights), expected)


@pytest.mark.parametrize(("sign", "value"), [(1, 1.0), (-1, 0.0)])
def test_a_perfect_auc_has_the_exact_bound_of_its_patients(sign, value):
    patient = np.repeat(np.arange(12), 4)
    truth = patient < 6
    auc = Auc.of(sign * truth + 0.1 * np.arange(48) / 48, truth, patient, 12)
    assert auc(np.ones((1, 12)))[0] == value
    bound = beta.ppf(0.025, 6, 1)  # bound of Clopper and Pearson for 6 of 6 patients
    expected = (bound, 1.0) if value else (0.0, 1 - bound)
    assert confidence(auc, resampled(12, 50)) == pytest.approx(expected)


def test_two_perfect_systems_have_no_interval_of_their_difference():
    patient = np.repeat(np.arange(12), 4)
    truth = patient < 6
    a, b = (Auc.of(truth * scale, truth, patient, 12) for scale in (1.0, 2.0))
    assert paired(a, b, 12, n_resamples=50) == PairedTest(difference=0.0, interval=None, p=1.0, patients=6)


def test_a_measure_that_is_equal_on_all_resamples_has_no_interval():
    patient = np.repeat(np.arange(12), 4)
    truth = patient < 6
    constant, perfect = (Auc.of(scores, truth, patient, 12) for scores in (np.ones(48), truth + 0.0))
    weights = resampled(12, 50)
    assert np.ptp(constant(weights)) == 0
    assert confidence(constant, weights) is None
    assert confidence(Mean((constant, perfect)), weights) is None
    found = paired(perfect, constant, 12, n_resamples=50)
    assert (found.difference, found.interval) == (0.5, None)
    assert found.p < 0.05
    assert paired_over_seeds([(perfect, constant)] * 2, 12, n_resamples=50).interval is None
    third = Ratio(np.full(12, 0.1), np.full(12, 0.3))  # the resamples differ by rounding errors
    assert confidence(third, weights) is None


def test_a_measure_that_is_too_often_undefined_has_no_interval():
    rare = Ratio(0.5 * np.eye(40)[0], np.eye(40)[0], needed=np.ones(40))  # undefined in a third of all resamples
    assert rare.patients == 40
    assert confidence(rare, resampled(40, 500)) is None
    assert confidence(Ratio(np.ones(1), np.ones(1)), resampled(1, 10)) is None


def test_the_harmonic_mean_is_that_of_the_two_means():
    precision = Ratio(np.array([1.0, 0.5, 2.0]), np.array([1.0, 1.0, 3.0]))
    recall = Ratio(np.array([0.5, 1.0, 1.0]), np.array([1.0, 1.0, 2.0]))
    weights = np.array([[1.0, 1, 1], [0.0, 2, 1]])
    expected = []
    for row in weights:
        p, r = (row @ one.numerator / (row @ one.denominator) for one in (precision, recall))
        expected.append(2 * p * r / (p + r))
    f = Harmonic(precision, recall)
    np.testing.assert_allclose(f(weights), expected)
    nothing = Ratio(np.zeros(3), np.ones(3))
    assert Harmonic(nothing, nothing)(weights).tolist() == [0, 0]
    assert np.isnan(Harmonic(nothing, Ratio(np.zeros(3), np.zeros(3)))(weights)).all()
    own = np.array([[1.0, 1, 1]])
    assert f.mixed(Harmonic(nothing, nothing), own) == f(own)


def seeded(effects, seed=0, n_patients=20):
    """Pairs of AUCs of two systems, fitted with as many seeds as there are effects; the second one has effect 1."""
    truth, _, patient = scored(seed, n_patients=n_patients)
    rng = np.random.default_rng([seed, 1])

    def auc(effect):
        return Auc.of(rng.normal(size=len(truth)) + effect * truth, truth, patient, n_patients)

    return [(auc(effect), auc(1.0)) for effect in effects]


def test_the_variance_over_seeds_is_added_to_that_over_patients():
    pairs = seeded([0.6, 1.4, 2.2, 1.0])
    found = paired_over_seeds(pairs, 20, n_resamples=400)
    one, weights = np.ones((1, 20)), resampled(20, 400)
    each = np.array([a(one)[0] - b(one)[0] for a, b in pairs])
    m = found.patients
    of_patients = np.var(np.mean([a(weights) - b(weights) for a, b in pairs], axis=0), ddof=1) * m / (m - 1)
    of_seeds = np.var(each, ddof=1) / 4
    total = of_patients + of_seeds
    freedom = total**2 / (of_patients**2 / (m - 1) + of_seeds**2 / 3)
    half = student.ppf(0.975, freedom) * np.sqrt(total)
    assert found.difference == pytest.approx(each.mean())
    np.testing.assert_allclose(found.interval, [each.mean() - half, each.mean() + half])
    assert found.seed_sd == pytest.approx(np.std(each, ddof=1))
    assert (found.seeds, found.p < 0.05) == (4, not found.interval[0] <= 0 <= found.interval[1])


def test_with_one_seed_the_comparison_is_a_paired_test():
    pair = seeded([1.5])
    assert paired_over_seeds(pair, 20, n_resamples=100) == paired(*pair[0], 20, n_resamples=100)


def test_an_effect_of_one_seed_is_not_an_effect_of_the_method():
    """Systems whose quality depends on the seed alone: one seed finds a difference, several seeds do not."""
    lucky = seeded([3.0, 0.2, 1.9, -0.6], n_patients=40)
    assert paired_over_seeds(lucky[:1], 40, n_resamples=300).p < 0.01
    low, high = paired_over_seeds(lucky, 40, n_resamples=300).interval
    assert low < 0 < high


def test_a_system_does_not_differ_from_itself():
    truth, scores, patient = scored(4)
    auc = Auc.of(scores, truth, patient, 12)
    result = paired(auc, auc, 12, n_resamples=200)
    assert result == PairedTest(difference=0.0, interval=None, p=1.0, patients=auc.patients)


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
    assert paired(a, b, 4).p == 2 / 16  # only "none swapped" and "all swapped" are as extreme


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
    assert paired(nothing, nothing, 3) == PairedTest(difference=None, interval=None, p=None, patients=0)


def test_resamples_without_a_positive_are_excluded_from_f():
    tp, calls, cases = np.array([3.0, 0, 0, 0]), np.array([3.0, 1, 1, 1]), np.array([3.0, 0, 0, 0])
    f = Ratio(2 * tp, calls + cases, needed=cases)
    weights = np.array([[2.0, 1, 1, 0], [0.0, 2, 1, 1]])
    np.testing.assert_allclose(f(weights), [12 / 14, np.nan])


def test_a_mean_is_undefined_where_one_of_its_measures_is():
    weights = np.array([[1.0, 1, 1], [1.0, 0, 2]])
    whole, lone = Ratio(np.ones(3), np.ones(3)), Ratio(np.array([0, 0.5, 0]), np.array([0, 1.0, 0]))
    np.testing.assert_allclose(Mean((whole, lone))(weights), [0.75, np.nan])
    assert np.isnan(Mean(())(weights)).all()


def test_differences_of_measures_that_are_not_proportions_are_not_clipped_at_1():
    rng = np.random.default_rng(0)
    values = rng.normal(70, 1, size=(2, 30))
    a, b = Ratio(values[0] + 5, np.ones(30)), Ratio(values[1], np.ones(30))
    low, high = paired(a, b, 30, n_resamples=200, proportion=False).interval
    assert 1 < low < high
    pairs = [(a, b), (Ratio(values[0] + 6, np.ones(30)), b)]
    low, high = paired_over_seeds(pairs, 30, n_resamples=200, proportion=False).interval
    assert high > 1
