"""Curves of folds are averaged, and thinned to a size that can be stored, without a change of their areas."""

import numpy as np
import pytest
import sklearn.metrics as sk

from ildfv.evaluation import metrics
from ildfv.evaluation.curves import mean_pr, mean_roc, thinned_pr, thinned_roc


def fold(seed, n, ties):
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < rng.uniform(0.1, 0.7)
    truth[:2] = True, False
    scores = rng.normal(size=n) + rng.uniform(0, 2) * truth
    return truth, np.round(scores * 2) / 2 if ties else scores


def step_area(recall, precision):
    return np.diff(recall) @ precision[1:]


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_the_area_under_averaged_and_thinned_curves_is_the_weighted_mean(seed, ties):
    folds = [fold(10 * seed + k, n, ties) for k, n in enumerate((20, 333, 1500))]
    pairs = [y.sum() * (~y).sum() for y, _ in folds]
    roc = mean_roc([metrics.roc_curve(y, f) for y, f in folds], pairs)
    expected = np.average([sk.roc_auc_score(y, f) for y, f in folds], weights=pairs)
    positives = [y.sum() for y, _ in folds]
    pr = mean_pr([metrics.pr_curve(y, f) for y, f in folds], positives)
    expected_ap = np.average([sk.average_precision_score(y, f) for y, f in folds], weights=positives)
    for points in (10**6, 200, 11):
        fpr, tpr = thinned_roc(roc, points)
        assert np.trapezoid(tpr, fpr) == pytest.approx(expected, abs=1e-12)
        assert len(fpr) <= points
        assert (np.diff(fpr) >= 0).all()
        assert (np.diff(tpr) >= -1e-15).all()
        assert (fpr[0], tpr[0], fpr[-1]) == (0, 0, 1)
        assert tpr[-1] == pytest.approx(1)
        recall, precision = thinned_pr(pr, points)
        assert step_area(recall, precision) == pytest.approx(expected_ap, abs=1e-12)
        assert len(recall) <= points
        assert (recall[0], recall[-1]) == (0, 1)


def test_two_folds_by_hand():
    perfect, chance = (np.array([0.0, 0, 1]), np.array([0.0, 1, 1])), (np.array([0.0, 1]), np.array([0.0, 1]))
    fpr, tpr = mean_roc([perfect, chance], [3, 1])
    np.testing.assert_allclose(fpr, [0, 0, 1])
    np.testing.assert_allclose(tpr, [0, 0.75, 1])
    right, half = (np.array([0, 1.0]), np.array([1, 1.0])), (np.array([0, 0.5, 1.0]), np.array([1, 0.5, 0.25]))
    recall, precision = mean_pr([right, half], [1, 1])
    np.testing.assert_allclose(recall, [0, 0.5, 1])
    np.testing.assert_allclose(precision, [1, 0.75, 0.625])


def test_one_fold_keeps_its_curve():
    truth, scores = fold(1, 50, ties=True)
    curve = metrics.roc_curve(truth, scores)
    assert mean_roc([curve], [1]) is curve
    assert thinned_roc(curve, 200) is curve
