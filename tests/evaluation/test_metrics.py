"""Metrics: Eq. 7–10 by hand, and equal to scikit-learn and torchmetrics where these define them."""

import math

import numpy as np
import pytest
import sklearn.calibration
import sklearn.metrics as sk
import torch
from scipy.stats import rankdata

from ildfv.errors import InputError
from ildfv.evaluation import metrics
from ildfv.evaluation.measures import mean_ranks
from ildfv.train.external import declare_operators

declare_operators()  # torchmetrics imports torchvision where it is installed
import torchmetrics.functional.classification as tm  # noqa: E402

N = math.nan


def case(seed, n=200, ties=False):
    rng = np.random.default_rng(seed)
    truth = (rng.random((n, 4)) < [0.5, 0.3, 0.05, 0.2]).astype(np.int8)
    scores = rng.normal(size=(n, 4)) + truth
    if ties:
        scores = np.round(scores * 2) / 2
    return truth, scores, (scores > 0.7).astype(np.int8)


@pytest.mark.parametrize(
    ("s", "t", "skip", "agree"),
    [
        ("1000", "1000", (1, 1, 1, 1), (1, 1, 1, 1)),
        ("1100", "1010", (1 / 3, 1 / 2, 1 / 2, 1 / 2), (1 / 3, 1 / 2, 1 / 2, 1 / 2)),
        ("1110", "1000", (1 / 3, 1, 1 / 3, 1 / 2), (1 / 3, 1, 1 / 3, 1 / 2)),
        ("1000", "1111", (1 / 4, 1 / 4, 1, 2 / 5), (1 / 4, 1 / 4, 1, 2 / 5)),
        ("1000", "0100", (0, 0, 0, 0), (0, 0, 0, 0)),
        ("0000", "0000", (N, N, N, N), (1, 1, 1, 1)),
        ("0000", "0110", (0, 0, N, 0), (0, 0, N, 0)),
        ("0110", "0000", (0, N, 0, 0), (0, N, 0, 0)),
    ],
)
def test_sample_terms_by_hand(s, t, skip, agree):
    truth, predicted = ([[int(c) for c in word]] for word in (s, t))
    np.testing.assert_allclose(metrics.sample_terms(truth, predicted)[0], skip)
    np.testing.assert_allclose(metrics.sample_terms(truth, predicted, empty="agree")[0], agree)


def test_undefined_terms_are_excluded_from_the_mean():
    truth = [[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 1, 0]]
    predicted = [[1, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    m = metrics.sample_metrics(truth, predicted)
    assert m == {"accuracy": 1 / 3, "precision": 1 / 2, "recall": 1 / 2, "f": 1 / 2, "mean_slice_f": 1 / 3}


def test_the_overall_f_is_the_harmonic_mean_of_averaged_precision_and_recall():
    """Eq. 8–10 by hand: precisions 1, 1/2 and 1/4, recalls 1/2, 1 and 1, hence averages of 7/12 and 10/12."""
    truth = [[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
    predicted = [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1]]
    m = metrics.sample_metrics(truth, predicted)
    assert m["precision"] == pytest.approx(7 / 12)
    assert m["recall"] == pytest.approx(10 / 12)
    assert m["f"] == pytest.approx(2 * 70 / 12 / 17)
    assert m["mean_slice_f"] == pytest.approx((2 / 3 + 2 / 3 + 2 / 5) / 3)


def test_the_overall_f_is_0_if_every_prediction_is_wrong_and_undefined_without_predictions():
    wrong = metrics.sample_metrics([[1, 0]], [[0, 1]])
    assert wrong["f"] == 0
    assert math.isnan(metrics.sample_metrics([[1, 0]], [[0, 0]])["f"])
    healthy = metrics.sample_metrics(np.zeros((3, 4)), np.zeros((3, 4)))
    assert all(math.isnan(value) for value in healthy.values())


@pytest.mark.parametrize("seed", range(3))
def test_sample_metrics_equal_scikit_learn(seed):
    truth, _, predicted = case(seed)
    ours = metrics.sample_metrics(truth, predicted)
    precision, recall, f, _ = sk.precision_recall_fscore_support(
        truth, predicted, average="samples", zero_division=np.nan
    )
    assert ours["precision"] == pytest.approx(precision)
    assert ours["recall"] == pytest.approx(recall)
    assert ours["mean_slice_f"] == pytest.approx(f)
    assert ours["f"] == pytest.approx(2 * precision * recall / (precision + recall))
    jaccard = [sk.jaccard_score(y, t) for y, t in zip(truth, predicted, strict=True) if y.any() or t.any()]
    assert ours["accuracy"] == pytest.approx(np.mean(jaccard))


@pytest.mark.parametrize("seed", range(3))
def test_pattern_metrics_equal_scikit_learn_and_torchmetrics(seed):
    truth, _, predicted = case(seed)
    ours = metrics.pattern_metrics(truth, predicted)
    p, r, f, _ = sk.precision_recall_fscore_support(truth, predicted, average=None, zero_division=np.nan)
    for name, theirs in (("precision", p), ("recall", r), ("f", f)):
        np.testing.assert_allclose(ours[name], theirs)
    torch_f = tm.multilabel_f1_score(torch.tensor(predicted), torch.tensor(truth), num_labels=4, average=None)
    np.testing.assert_allclose(ours["f"], torch_f, rtol=1e-6)
    np.testing.assert_array_equal(
        np.stack([metrics.confusion(truth, predicted)[n] for n in ("tn", "fp", "fn", "tp")], 1),
        sk.multilabel_confusion_matrix(truth, predicted).reshape(4, 4),
    )


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_curves_and_areas_equal_scikit_learn_and_torchmetrics(seed, ties):
    truth, scores, _ = case(seed, ties=ties)
    for y, f in zip(truth.T, scores.T, strict=True):
        assert metrics.roc_auc(y, f) == pytest.approx(sk.roc_auc_score(y, f), abs=1e-15)
        assert metrics.average_precision(y, f) == pytest.approx(sk.average_precision_score(y, f), abs=1e-15)
        torch_f, torch_y = torch.tensor(f), torch.tensor(y, dtype=torch.int64)
        assert metrics.roc_auc(y, f) == pytest.approx(tm.binary_auroc(torch_f, torch_y).item(), abs=1e-5)
        assert metrics.average_precision(y, f) == pytest.approx(
            tm.binary_average_precision(torch_f, torch_y).item(), abs=1e-5
        )
        fpr, tpr, _ = sk.roc_curve(y, f, drop_intermediate=False)
        np.testing.assert_allclose(metrics.roc_curve(y, f), (fpr, tpr))
        precision, recall, _ = sk.precision_recall_curve(y, f)
        np.testing.assert_allclose(metrics.pr_curve(y, f), (recall[::-1], precision[::-1]))


def test_auc_is_the_share_of_pairs_in_the_right_order():
    truth, scores = [1, 0, 1, 0], [0.9, 0.9, 0.5, 0.1]
    assert metrics.roc_auc(truth, scores) == (0.5 + 1 + 0 + 1) / 4


def test_brier_and_calibration_equal_scikit_learn():
    truth, scores, _ = case(5)
    probability = 1 / (1 + np.exp(-scores))
    for y, p in zip(truth.T, probability.T, strict=True):
        assert metrics.brier(y, p) == pytest.approx(sk.brier_score_loss(y, p))
        observed, predicted = sklearn.calibration.calibration_curve(y, p, n_bins=10)
        ours = metrics.calibration_curve(y, p)
        np.testing.assert_allclose(ours["observed"], observed)
        np.testing.assert_allclose(ours["predicted"], predicted)
        assert sum(ours["n"]) == len(y)


def test_one_class_leaves_areas_undefined():
    scores = [0.1, 0.2, 0.3]
    assert math.isnan(metrics.roc_auc([1, 1, 1], scores))
    assert math.isnan(metrics.roc_auc([0, 0, 0], scores))
    assert math.isnan(metrics.average_precision([0, 0, 0], scores))
    assert metrics.average_precision([1, 1, 1], scores) == 1
    assert metrics.roc_curve([0, 0, 0], scores) is None
    assert metrics.pr_curve([0, 0, 0], scores) is None


def test_a_zero_denominator_is_undefined_and_not_zero():
    empty = metrics.pattern_metrics(np.zeros((3, 4)), np.zeros((3, 4)))
    assert all(np.isnan(value).all() for value in empty.values())
    wrong = metrics.pattern_metrics(np.zeros((3, 1)), np.ones((3, 1)))
    assert wrong["precision"] == 0
    assert wrong["f"] == 0
    assert np.isnan(wrong["recall"])


def test_non_finite_scores_are_refused():
    with pytest.raises(InputError, match="scores must be finite"):
        metrics.roc_auc([0, 1], [0.0, N])
    with pytest.raises(InputError, match=r"scores must have shape \(2,\), got \(3,\)"):
        metrics.roc_auc([0, 1], [0.0, 1.0, 2.0])


@pytest.mark.parametrize("seed", range(10))
def test_curves_have_the_bits_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    truth = np.append(rng.random(200) < 0.3, [True, False])
    scores = np.round(rng.normal(size=202) + truth, seed % 5)
    curve = sk.roc_curve(truth, scores, drop_intermediate=False)[:2]
    np.testing.assert_array_equal(metrics.roc_curve(truth, scores), curve)
    assert metrics.roc_auc(truth, scores) == sk.auc(*curve)
    precision, recall, _ = sk.precision_recall_curve(truth, scores)
    np.testing.assert_array_equal(metrics.pr_curve(truth, scores), (recall[::-1], precision[::-1]))


@pytest.mark.parametrize("seed", range(10))
def test_mean_ranks_are_those_of_scipy(seed):
    values = np.round(np.random.default_rng(seed).normal(size=100), seed % 4)
    np.testing.assert_array_equal(mean_ranks(values), rankdata(values))
