"""A system is judged by the interval of its difference from the best baseline; without one there is no verdict."""

import pytest

from ildfv.evaluation.baselines import BEATS, NOT_BETTER, UNKNOWN, Verdict, labels, shared_labels, statement
from ildfv.inference.model_card import against_baselines
from ildfv.inference.schema import Baseline, Head, PatternPerformance, Performance


def verdict(measure="emphysema", interval=None, difference=0.03) -> Verdict:
    return Verdict("cnn", "baseline-p15", measure, difference, interval)


@pytest.mark.parametrize(
    ("interval", "outcome"),
    [((0.01, 0.05), BEATS), ((0.0, 0.05), NOT_BETTER), ((-0.01, 0.05), NOT_BETTER), (None, UNKNOWN)],
)
def test_only_an_interval_decides(interval, outcome):
    one = verdict(interval=interval)
    assert one.outcome == outcome
    assert one.beats == (outcome == BEATS)


def test_a_difference_that_rounds_to_zero_has_no_minus_sign_but_an_end_of_its_interval_has():
    one = verdict(difference=-0.0002, interval=(-0.0004, 0.01))
    assert one.cell == "+0.000 (−0.000 to +0.010) against p15; does not beat it"
    assert "(+0.000 to" in verdict(interval=(-0.0, 0.01)).cell


def test_the_name_of_a_baseline_keeps_its_hyphens():
    one = Verdict("cnn", "baseline-mean-density", "emphysema", -0.1, None)
    assert one.cell == "−0.100 against mean-density; undetermined: no interval"


def test_without_an_interval_the_sentence_does_not_say_that_a_system_lost():
    line = labels([verdict(), verdict("honeycomb")])["cnn"]
    assert line == "cnn cannot be compared with the best baseline in the AUC of emphysema and honeycomb (no interval)."
    assert "does not beat" not in line


def test_lost_and_undecided_patterns_are_distinguished():
    line = labels([verdict(interval=(-0.1, 0.1)), verdict("honeycomb"), verdict("mean_auc", (0.1, 0.2))])["cnn"]
    assert line == (
        "cnn does not beat the best baseline in the AUC of emphysema; it cannot be compared with the best baseline in "
        "the AUC of honeycomb (no interval)."
    )


def test_a_system_that_beats_the_best_baseline_everywhere_has_no_label():
    assert labels([verdict(interval=(0.01, 0.05)), verdict("mean_auc", (0.1, 0.2))]) == {}


def test_the_sentence_on_a_system_that_beats_the_best_baseline_lists_where():
    found = statement("cnn", [verdict(interval=(0.01, 0.05)), verdict("mean_auc", (0.1, 0.2))])
    assert found == "cnn beats the best baseline in mean AUC and the AUC of emphysema."


def test_without_baselines_the_sentence_names_the_command():
    expected = "cnn was not compared with baselines, because `ildfv baselines` was not run."
    assert statement("cnn", []) == expected


@pytest.mark.parametrize(
    ("interval", "words"),
    [((0.01, 0.05), "beats"), ((-0.01, 0.05), "does not beat"), (None, "cannot be compared with")],
)
def test_model_card_and_prediction_state_what_fit_and_report_state(interval, words):
    performance = Performance(
        data="user",
        fold=0,
        folds=[0],
        slices=9,
        patients=5,
        patterns={
            "emphysema": PatternPerformance(auc=0.9, auc_interval=None, f=None, f_interval=None, positives=3),
        },
        baselines=[
            Baseline(
                measure="emphysema",
                baseline="baseline-p15",
                difference=0.03,
                interval=interval,
                beats=interval is not None and interval[0] > 0,
            )
        ],
    )
    none = [None] * 4
    given = {"target": "counts", "threshold": 6000, "thresholds": none, "sigmoids": none, "performance": performance}
    head = Head(name="cnn", kind="cnn", **given)
    one = verdict(interval=interval)
    assert against_baselines(head) == statement("cnn", [one])
    assert f"cnn {words} the best baseline" in against_baselines(head)
    assert one.cell.endswith("beats it" if words == "beats" else one.outcome)


def test_equal_statements_on_systems_and_folds_are_one_sentence():
    lost = {"measure": "emphysema", "difference": 0.0, "interval": (-0.1, 0.1)}
    a, b, c = (Verdict(name, "baseline-p15", **lost) for name in "abc")
    unknown = Verdict("c", "baseline-p15", "honeycomb", 0.1, None)
    assert shared_labels({None: [a, b]}) == [
        "The systems a and b do not beat the best baseline in the AUC of emphysema."
    ]
    assert shared_labels({0: [a, b], 2: [a, b, c]}) == [
        "Folds 0 and 2: the systems a and b do not beat the best baseline in the AUC of emphysema.",
        "Fold 2: the system c does not beat the best baseline in the AUC of emphysema.",
    ]
    assert shared_labels({None: [a, c, unknown]})[1] == (
        "The system c does not beat the best baseline in the AUC of emphysema; it cannot be compared with the best "
        "baseline in the AUC of honeycomb (no interval)."
    )
    assert shared_labels({None: [verdict(interval=(0.01, 0.05))]}) == []
