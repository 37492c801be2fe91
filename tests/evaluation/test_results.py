"""The results document: correct numbers, null where undefined, reproducible by seed."""

import json
from dataclasses import fields

import numpy as np
import pytest
import sklearn.metrics as sk

from ildfv.errors import InputError
from ildfv.evaluation.comparisons import compare, compare_over_seeds
from ildfv.evaluation.documents import Comparison, Results
from ildfv.evaluation.predictions import Predictions
from ildfv.evaluation.results import OVERALL, evaluate, spread
from ildfv.evaluation.thresholds import Decisions
from ildfv.patterns import PATTERNS


def predictions(fold=0, system="fv-conv1", effect=2.0, without=(), n_patients=10, seed=0):
    """Test-fold predictions with decisions fitted on other slices of the same kind."""
    rng = np.random.default_rng([seed, fold])

    def draw():
        patient = np.repeat([f"f{fold}-p{i}" for i in range(n_patients)], 15)
        presence = (rng.random((len(patient), 4)) < [0.5, 0.3, 0.2, 0.4]).astype(np.int8)
        presence[:, list(without)] = 0
        return patient, presence, rng.normal(size=presence.shape)

    _, validation_presence, noise = draw()
    patients, presence, test_noise = draw()
    decisions = Decisions.fit(validation_presence, effect * validation_presence + noise)
    return Predictions(system, fold, effect * presence + test_noise, presence, patients, decisions, PATTERNS)


def step_area(pr):
    """The area under steps at which each precision applies from the previous recall to its own."""
    return np.diff(pr.recall) @ np.array(pr.precision[1:])


def test_the_document_contains_the_numbers_of_scikit_learn():
    p = predictions()
    document = evaluate(p, data="phantom", threshold=6000, n_resamples=200)
    called = p.decisions.predict(p.scores)
    probability = p.decisions.probability(p.scores)
    for k, pattern in enumerate(PATTERNS):
        row, y, f = document.per_pattern[pattern], p.presence[:, k], p.scores[:, k]
        assert row.auc == pytest.approx(sk.roc_auc_score(y, f))
        assert row.ap == pytest.approx(sk.average_precision_score(y, f))
        assert row.f == pytest.approx(sk.f1_score(y, called[:, k]))
        assert row.precision == pytest.approx(sk.precision_score(y, called[:, k]))
        assert row.recall == pytest.approx(sk.recall_score(y, called[:, k]))
        assert row.brier == pytest.approx(sk.brier_score_loss(y, probability[:, k]))
        for name in ("auc", "f", "precision", "recall", "brier"):
            value, (low, high) = row.estimate(name)
            assert low <= value <= high
        assert np.trapezoid(row.roc.tpr, row.roc.fpr) == pytest.approx(row.auc, abs=1e-12)
        assert step_area(row.pr) == pytest.approx(row.ap, abs=1e-12)
    overall = document.overall
    assert overall.micro_f == pytest.approx(sk.f1_score(p.presence, called, average="micro"))
    assert overall.macro_f == pytest.approx(sk.f1_score(p.presence, called, average="macro"))
    precision, recall, f, _ = sk.precision_recall_fscore_support(
        p.presence, called, average="samples", zero_division=np.nan
    )
    assert overall.f == pytest.approx(2 * precision * recall / (precision + recall))
    assert overall.mean_slice_f == pytest.approx(f)
    for name in OVERALL:
        value, (low, high) = overall.estimate(name)
        assert low <= value <= high
    assert overall.mean_auc == pytest.approx(sk.roc_auc_score(p.presence, p.scores))


def test_undefined_is_null_in_json_and_never_zero():
    document = evaluate(predictions(without=[2]), data="phantom", threshold=6000, n_resamples=50)
    row = json.loads(json.dumps(document.to_dict(), allow_nan=False))["per_pattern"]["honeycomb"]
    assert row.pop("prevalence") == 0
    assert row.pop("positives") == 0
    assert (row.pop("positive_patients"), row.pop("negative_patients")) == (0, 10)
    assert set(row.pop("patients").values()) <= {0, 10}
    assert set(row.values()) == {None}
    others = [document.per_pattern[p] for p in PATTERNS if p != "honeycomb"]
    assert document.overall.macro_f == pytest.approx(np.mean([r.f for r in others]))
    assert document.overall.mean_auc == pytest.approx(np.mean([r.auc for r in others]))


def test_the_mean_auc_of_patterns_with_enough_patients_has_an_interval_if_another_pattern_lacks_it():
    p = predictions()
    p.presence[p.patients >= "f0-p3", 2] = 0  # honeycomb is shown by at most three patients
    document = evaluate(p, data="phantom", threshold=6000, n_resamples=100)
    overall = document.overall
    assert overall.mean_auc is not None
    assert overall.mean_auc_interval is None
    assert overall.supported == ["ground glass", "reticular", "emphysema"]
    expected = np.mean([document.per_pattern[pattern].auc for pattern in overall.supported])
    assert overall.supported_mean_auc == pytest.approx(expected)
    low, high = overall.supported_mean_auc_interval
    assert low < expected < high
    other = Predictions("cnn", 0, p.scores + p.presence, p.presence, p.patients, p.decisions, PATTERNS)
    tests = compare(other, p, n_resamples=100).tests
    assert tests["mean_auc"].interval is None
    assert tests["supported_mean_auc"].interval[0] > 0


def test_one_patient_has_numbers_but_no_interval():
    document = evaluate(predictions(n_patients=1), data="user", threshold=6000, n_resamples=50)
    assert document.overall.f is not None
    assert document.overall.f_interval is None


def test_the_same_seed_gives_the_same_document():
    a, b = (evaluate(predictions(), data="phantom", threshold=6000, n_resamples=100, seed=s) for s in (1, 1))
    assert a == b
    assert a != evaluate(predictions(), data="phantom", threshold=6000, n_resamples=100, seed=2)


def test_the_numbers_of_patients_with_and_without_a_pattern_are_reported():
    p = predictions(n_patients=10)
    p.presence[:, 1] = np.array(p.patients) == "f0-p3"
    p.presence[:, 3] = np.array(p.patients) != "f0-p3"
    document = evaluate(p, data="phantom", threshold=6000, n_resamples=50)
    rows = [document.per_pattern[pattern] for pattern in ("reticular", "emphysema")]
    assert [(row.positive_patients, row.negative_patients) for row in rows] == [(1, 9), (9, 1)]
    assert [row.auc_interval for row in rows] == [None, None]
    assert document.overall.patients["mean_auc"] == 1
    assert document.overall.mean_auc_interval is None
    assert document.overall.patients["accuracy"] == 10


def test_spread_is_mean_and_sd_over_folds_where_defined():
    documents = [
        evaluate(predictions(fold=k, without=[2] if k == 1 else []), data="phantom", threshold=6000, n_resamples=20)
        for k in range(3)
    ]
    s = spread(documents)
    values = [d.per_pattern["ground glass"].auc for d in documents]
    assert s.per_pattern["ground glass"]["auc"].to_dict() == {
        "mean": pytest.approx(np.mean(values)),
        "sd": pytest.approx(np.std(values, ddof=1)),
        "n": 3,
    }
    assert s.per_pattern["honeycomb"]["f"].n == 2
    assert spread(documents[:1]).overall["f"].sd is None


def test_false_positives_of_an_absent_pattern_give_no_f_of_0():
    p = predictions(without=[2])
    called = Predictions(p.system, p.fold, p.scores, p.presence, p.patients, Decisions.at([-100.0] * 4), PATTERNS)
    document = evaluate(called, data="phantom", threshold=6000, n_resamples=20)
    row = document.per_pattern["honeycomb"]
    assert (row.fp, row.f, row.f_interval) == (len(p.scores), None, None)
    others = [document.per_pattern[pattern].f for pattern in PATTERNS if pattern != "honeycomb"]
    assert document.overall.macro_f == pytest.approx(np.mean(others))


def test_compare_tests_two_systems_on_the_same_slices():
    good = predictions()
    rng = np.random.default_rng(0)
    noise, decisions = rng.normal(size=good.scores.shape), Decisions.at([0.0] * 4)
    bad = Predictions("cnn", 0, noise, good.presence, good.patients, decisions, PATTERNS)
    result = compare(good, bad, n_resamples=300)
    assert result.tests["mean_auc"].difference > 0.2
    assert result.tests["mean_auc"].p < 0.02
    assert Comparison.from_dict(json.loads(json.dumps(result.to_dict(), allow_nan=False))) == result
    with pytest.raises(InputError, match="fv-conv1 and cnn must be scored on the same slices"):
        compare(good, predictions(fold=1, system="cnn"))


def test_several_seeds_are_compared_by_their_mean():
    rng, good = np.random.default_rng(0), predictions()
    others = [
        Predictions("cnn", 0, good.scores + rng.normal(size=good.scores.shape), good.presence, good.patients, *rest)
        for rest in [(good.decisions, PATTERNS)] * 3
    ]
    singles = [compare(good, other, n_resamples=100) for other in others]
    several = compare_over_seeds([(good, other) for other in others], n_resamples=100)
    assert (singles[0].seeds, several.seeds) == (1, 3)
    for name, test in several.tests.items():
        each = [one.tests[name].difference for one in singles]
        assert test.difference == pytest.approx(np.mean(each)), name
        assert test.seed_sd == pytest.approx(np.std(each, ddof=1)), name
        assert test.seeds == 3
    assert Comparison.from_dict(json.loads(json.dumps(several.to_dict(), allow_nan=False))) == several
    with pytest.raises(InputError, match="must be scored on the same slices"):
        compare_over_seeds([(good, others[0]), (good, predictions(fold=1))])


def test_a_document_of_an_older_version_is_refused_with_a_remedy():
    values = evaluate(predictions(), data="phantom", threshold=6000, n_resamples=20).to_dict()
    rule = "doc.json must have version 2, got 1, .*: delete it and repeat the `ildfv train` or `ildfv regress` command"
    with pytest.raises(InputError, match=rule) as error:
        Results.from_dict(values | {"version": 1}, name="doc.json")
    assert "\n" not in str(error.value)


def test_a_threshold_that_is_neither_a_number_of_pixels_nor_a_percentage_is_an_input_error():
    with pytest.raises(InputError, match=r"T must be a number of pixels of at least 1, or a percentage .*, got 0"):
        evaluate(predictions(), data="phantom", threshold=0, n_resamples=20)


def test_a_document_of_a_newer_version_is_refused_and_must_not_be_deleted():
    document = evaluate(predictions(), data="phantom", threshold=6000, n_resamples=20)
    with pytest.raises(InputError, match=r"must have version 2, got 3, which a newer version .*: update ildfv$"):
        Results.from_dict(document.to_dict() | {"version": 3}, name="doc.json")


def test_means_are_compared_over_the_patterns_both_systems_define():
    good = predictions()
    thresholds = [None, *good.decisions.thresholds[1:]]
    mute = Predictions("mute", 0, good.scores, good.presence, good.patients, Decisions.at(thresholds), PATTERNS)
    tests = compare(good, mute, n_resamples=50).tests
    assert tests["ground glass/f"].difference is None
    assert tests["macro_f"].difference == 0


def test_long_curves_are_thinned_with_their_ends_kept():
    document = evaluate(predictions(n_patients=100), data="phantom", threshold=6000, n_resamples=20)
    roc = document.per_pattern["ground glass"].roc
    assert len(roc.fpr) <= 200
    assert (roc.fpr[0], roc.tpr[0], roc.fpr[-1], roc.tpr[-1]) == (0, 0, 1, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": np.zeros((3, 4))}, r"scores must have shape \(150, 4\), got \(3, 4\)"),
        ({"presence": np.full((150, 4), 2)}, "presence must be 1, 0 or −1"),
        ({"presence": np.full((150, 4), -1)}, "every slice must have a label, got 150 without a label"),
        ({"scores": np.full((150, 4), np.nan)}, "scores of fv-conv1 must be finite"),
    ],
)
def test_bad_predictions_are_refused(change, message):
    p = predictions()
    values = {field.name: getattr(p, field.name) for field in fields(p)}
    with pytest.raises(InputError, match=message):
        Predictions(**(values | change))


def test_a_document_equals_the_one_read_from_its_json():
    document = evaluate(predictions(without=[2]), data="phantom", threshold=6000, n_resamples=20, settings={"k": [1]})
    text = json.dumps(document.to_dict())
    again = Results.from_dict(json.loads(text))
    assert again == document
    assert json.dumps(again.to_dict()) == text


def test_a_document_without_curves_lacks_nothing_else():
    document = evaluate(predictions(), data="phantom", threshold=6000, n_resamples=20)
    short = document.without_curves().to_dict()
    whole = document.to_dict()
    for row in whole["per_pattern"].values():
        for curve in ("roc", "pr", "calibration"):
            del row[curve]
    assert short == whole


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"threshold": None},
            "doc.json: threshold: Value error, T must be a number of pixels of at least 1, or a percentage",
        ),
        ({"data": "mouse"}, "doc.json: data: Input should be 'phantom' or 'user', got mouse"),
        ({"more": 1}, "doc.json: more: Extra inputs are not permitted, got 1"),
        ({"kind": "ildfv comparison"}, "doc.json: kind: Input should be 'ildfv results'"),
    ],
)
def test_a_document_that_breaks_the_schema_is_refused(change, message):
    values = evaluate(predictions(), data="phantom", threshold=6000, n_resamples=20).to_dict()
    with pytest.raises(InputError, match=message):
        Results.from_dict(values | change, name="doc.json")


def test_unknown_entries_count_for_no_measure():
    """Each pattern is evaluated on the slices where it is known, and label sets where all patterns are known."""
    p = predictions()
    presence = np.array(p.presence)
    hidden = np.random.default_rng(9).random(presence.shape) < 0.3
    hidden[hidden.all(axis=1)] = False
    presence[hidden] = -1
    other = presence.copy()
    values = {field.name: getattr(p, field.name) for field in fields(p)}
    partial = evaluate(Predictions(**values | {"presence": presence}), data="phantom", threshold=6000, n_resamples=50)
    for k, pattern in enumerate(p.labels):
        known = ~hidden[:, k]
        row = partial.per_pattern[pattern]
        predicted = p.decisions.predict(p.scores)[known, k]
        assert row.positives == (other[known, k] == 1).sum()
        assert row.auc == pytest.approx(sk.roc_auc_score(other[known, k], np.asarray(p.scores)[known, k]))
        assert row.tp + row.fp + row.fn + row.tn == known.sum()
        assert row.precision == pytest.approx(((other[known, k] == 1) & predicted).sum() / predicted.sum())
    complete = ~hidden.any(axis=1)
    whole = Predictions(
        **values | {name: np.asarray(getattr(p, name))[complete] for name in ("presence", "scores", "patients")}
    )
    alone = evaluate(whole, data="phantom", threshold=6000, n_resamples=50)
    assert partial.overall.accuracy == pytest.approx(alone.overall.accuracy)
    assert partial.overall.f == pytest.approx(alone.overall.f)
