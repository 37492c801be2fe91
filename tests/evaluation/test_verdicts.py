"""A system is judged by the interval of its difference from the best baseline; without one there is no verdict."""

import pytest

from ildfv.evaluation.baselines import BEATS, NOT_BETTER, UNKNOWN, Verdict, labels


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


def test_a_difference_that_rounds_to_zero_has_no_minus_sign():
    one = verdict(difference=-0.0002, interval=(-0.0004, 0.01))
    assert str(one) == "+0.000 [0.000, 0.010] against baseline-p15"


def test_without_an_interval_the_sentence_does_not_say_that_a_system_lost():
    line = labels([verdict(), verdict("honeycomb")])["cnn"]
    assert line == (
        "cnn cannot be compared with the best baseline, because the AUC difference has no interval: emphysema +0.030 "
        "against baseline-p15; honeycomb +0.030 against baseline-p15"
    )
    assert "does not beat" not in line


def test_lost_and_undecided_patterns_are_distinguished():
    line = labels([verdict(interval=(-0.1, 0.1)), verdict("honeycomb"), verdict("mean_auc", (0.1, 0.2))])["cnn"]
    assert line == (
        "cnn does not beat the best baseline (95 % interval of the AUC difference): emphysema +0.030 [-0.100, 0.100] "
        "against baseline-p15; cannot be compared with the best baseline, because the AUC difference has no interval: "
        "honeycomb +0.030 against baseline-p15"
    )


def test_a_system_that_beats_the_best_baseline_everywhere_has_no_label():
    assert labels([verdict(interval=(0.01, 0.05)), verdict("mean_auc", (0.1, 0.2))]) == {}
