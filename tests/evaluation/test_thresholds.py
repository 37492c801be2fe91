"""Thresholds with the largest possible F, and probabilities by Platt's sigmoid."""

import numpy as np
import pytest
import sklearn.metrics as sk
from sklearn.linear_model import LogisticRegression

from ildfv.evaluation.thresholds import Decisions, best_threshold, fit_sigmoid


def test_no_threshold_gives_a_larger_f():
    rng = np.random.default_rng(0)
    for _ in range(20):
        truth = rng.random(60) < 0.3
        scores = np.round(rng.normal(size=60) + truth, 1)
        ours = sk.f1_score(truth, scores >= best_threshold(truth, scores))
        predicted = scores >= np.unique([scores, scores + 0.05])[:, None]  # (thresholds, slices)
        f = 2 * (predicted & truth).sum(axis=1) / (predicted.sum(axis=1) + truth.sum()).clip(1)
        assert ours == pytest.approx(f.max())


def test_the_threshold_is_midway_or_the_lowest_score_if_all_are_predicted():
    assert best_threshold([0, 0, 1, 1], [0.0, 1.0, 2.0, 5.0]) == 1.5
    assert best_threshold([1, 1], [3.0, 4.0]) == 3.0
    assert best_threshold([1, 0], [np.nextafter(1, 2), 1.0]) == np.nextafter(1, 2)


def test_without_positives_there_is_no_threshold_and_with_one_class_no_sigmoid():
    assert best_threshold([0, 0], [1.0, 2.0]) is None
    assert fit_sigmoid([0, 0], [1.0, 2.0]) is None
    assert fit_sigmoid([1, 1], [1.0, 2.0]) is None


@pytest.mark.parametrize("scale", [1.0, 1e4, 1e-6])
def test_the_sigmoid_is_the_logistic_regression_on_platts_targets(scale):
    rng = np.random.default_rng(1)
    truth = rng.random(300) < 0.3
    scores = scale * (rng.normal(size=300) + truth + 5)
    up, down = (truth.sum() + 1) / (truth.sum() + 2), 1 / ((~truth).sum() + 2)
    target = np.where(truth, up, down)
    x = np.tile((scores / scale)[:, None], (2, 1))
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
    model.fit(x, np.repeat([1, 0], 300), sample_weight=np.concatenate([target, 1 - target]))
    np.testing.assert_allclose(
        fit_sigmoid(truth, scores)(scores), model.predict_proba(x[:300])[:, 1], rtol=1e-4, atol=1e-5
    )


def test_separated_classes_still_have_a_sigmoid():
    sigmoid = fit_sigmoid([0, 0, 0, 1, 1], [0.0, 1.0, 2.0, 8.0, 9.0])
    p = sigmoid(np.array([0.0, 9.0]))
    assert 0.1 < p[0] < 0.3
    assert 0.7 < p[1] < 0.8


def test_equal_scores_give_the_smoothed_prevalence():
    assert fit_sigmoid([0, 0, 0, 1], np.ones(4))(1.0) == pytest.approx((3 * 1 / 5 + 2 / 3) / 4)


def test_a_pattern_without_positives_has_no_decision():
    rng = np.random.default_rng(2)
    truth = (rng.random((80, 4)) < 0.4).astype(int)
    truth[:, 2] = 0
    scores = rng.normal(size=(80, 4)) + truth
    decisions = Decisions.fit(truth, scores)
    assert decisions.thresholds[2] is None
    assert not decisions.predict(scores)[:, 2].any()
    assert np.isnan(decisions.probability(scores)[:, 2]).all()
    assert np.isfinite(decisions.probability(scores)[:, [0, 1, 3]]).all()


def test_a_score_at_the_threshold_is_predicted():
    assert Decisions.at([0.0] * 4).predict([[0.0, -1e-9, 1.0, -1.0]]).tolist() == [[True, False, True, False]]
