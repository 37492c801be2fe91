"""Results pooled over folds: decisions, curves and measures of each fold, and what cannot be pooled."""

from dataclasses import replace

import numpy as np
import pytest
import sklearn.metrics as sk
from test_results import predictions, step_area

from ildfv.errors import InputError
from ildfv.evaluation.comparisons import compare
from ildfv.evaluation.predictions import Predictions
from ildfv.evaluation.results import evaluate
from ildfv.evaluation.thresholds import Decisions, Sigmoid
from ildfv.patterns import PATTERNS


def test_pooling_uses_each_folds_own_decisions():
    folds = [predictions(fold=k) for k in range(3)]
    document = evaluate(folds, data="phantom", threshold=6000, n_resamples=50)
    called = np.concatenate([f.decisions.predict(f.scores) for f in folds])
    truth = np.concatenate([f.presence for f in folds])
    assert document.fold is None
    assert document.folds == [0, 1, 2]
    assert document.n_patients == 30
    assert document.overall.micro_f == pytest.approx(sk.f1_score(truth, called, average="micro"))


def test_pooled_auc_counts_the_pairs_within_folds():
    folds = [predictions(fold=k, effect=0.5 + k, n_patients=4 + 3 * k) for k in range(3)]
    wins = pairs = 0.0
    for f in folds:
        positive, negative = (f.scores[f.presence[:, 1] == y, 1] for y in (1, 0))
        wins += sum((p > negative).sum() + 0.5 * (p == negative).sum() for p in positive)
        pairs += len(positive) * len(negative)
    row = evaluate(folds, data="phantom", threshold=6000, n_resamples=50).per_pattern["reticular"]
    assert row.auc == pytest.approx(wins / pairs)
    assert np.trapezoid(row.roc.tpr, row.roc.fpr) == pytest.approx(row.auc, abs=1e-12)


def test_pooled_ap_is_the_mean_over_positives_of_the_folds_and_the_area_of_its_curve():
    folds = [predictions(fold=k, effect=0.3 + k, n_patients=5 + 20 * k) for k in range(3)]
    row = evaluate(folds, data="phantom", threshold=6000, n_resamples=50).per_pattern["honeycomb"]
    each = [sk.average_precision_score(f.presence[:, 2], f.scores[:, 2]) for f in folds]
    assert row.ap == pytest.approx(np.average(each, weights=[f.presence[:, 2].sum() for f in folds]))
    assert step_area(row.pr) == pytest.approx(row.ap, abs=1e-12)


def test_a_fold_without_the_pattern_or_without_its_absence_has_no_part_in_curves():
    folds = [predictions(fold=0), predictions(fold=1, without=[2])]
    row = evaluate(folds, data="phantom", threshold=6000, n_resamples=50).per_pattern["honeycomb"]
    alone = evaluate(folds[:1], data="phantom", threshold=6000, n_resamples=50).per_pattern["honeycomb"]
    assert (row.roc, row.pr, row.auc) == (alone.roc, alone.pr, pytest.approx(alone.auc))
    assert row.ap == pytest.approx(alone.ap)


def test_the_scale_of_a_fold_and_its_calibration_do_not_change_a_pooled_auc():
    folds = [predictions(fold=k) for k in range(2)]
    f = folds[1]
    turned = tuple(Sigmoid(-s.slope, s.intercept) for s in f.decisions.sigmoids)
    other = Predictions(
        f.system, 1, np.exp(7 * f.scores), f.presence, f.patients, Decisions(f.decisions.thresholds, turned), PATTERNS
    )
    for name in ("auc", "auc_interval", "ap", "roc", "pr"):
        one, two = (
            getattr(evaluate(pair, data="phantom", threshold=6000, n_resamples=50).per_pattern["honeycomb"], name)
            for pair in (folds, [folds[0], other])
        )
        assert one == two


def test_a_patient_in_two_folds_cannot_be_pooled():
    a = predictions(fold=0)
    b = Predictions(a.system, 1, a.scores, a.presence, a.patients, a.decisions, PATTERNS)
    with pytest.raises(InputError, match="tested in one fold only, got f0-p0 in folds 0 and 1"):
        evaluate([a, b], data="phantom", threshold=6000)


def test_predictions_of_other_labels_are_not_pooled():
    a, b = predictions(fold=0), predictions(fold=1)
    other = Predictions(b.system, 1, b.scores, b.presence, b.patients, b.decisions, ("a", "b", "c", "d"))
    with pytest.raises(InputError, match="predictions must be of the same labels"):
        evaluate([a, other], data="phantom", threshold=6000)


def test_a_fold_in_which_a_pattern_was_not_learned_has_no_part_in_auc_ap_means_and_comparisons():
    folds = [predictions(fold=0), predictions(fold=1)]
    flat = folds[1].scores.copy()
    flat[:, 2] = 0.3  # as a model scores a pattern that no training slice shows
    constant = replace(folds[1], scores=flat, unlearned=["honeycomb"])
    options = {"data": "phantom", "threshold": 6000, "n_resamples": 50}
    pooled, alone = evaluate([folds[0], constant], **options), evaluate(folds[0], **options)
    row, learned = pooled.per_pattern["honeycomb"], alone.per_pattern["honeycomb"]
    assert (row.roc, row.pr, row.auc, row.ap) == (learned.roc, learned.pr, pytest.approx(learned.auc), learned.ap)
    assert row.positives > learned.positives  # the labels still count
    single = evaluate(constant, **options)
    assert (single.per_pattern["honeycomb"].auc, single.per_pattern["honeycomb"].ap) == (None, None)
    others = [single.per_pattern[p].auc for p in PATTERNS if p != "honeycomb"]
    assert single.overall.mean_auc == pytest.approx(np.mean(others))
    assert "honeycomb" not in single.overall.supported
    other = replace(folds[1], system="other")  # it has learned honeycomb, for example from more patients
    tests = compare(constant, other, n_resamples=50).tests
    assert tests["honeycomb/auc"].difference is None
    assert tests["reticular/auc"].difference == 0
