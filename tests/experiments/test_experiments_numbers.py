"""Numbers that experiments compute themselves, compared with small cases computed by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from ildfv.experiments.examples import choose
from ildfv.experiments.speed import seconds, table_9
from ildfv.experiments.statistics import positive_negative


def slices(counts, healthy, labelled):
    return SimpleNamespace(
        slices=SimpleNamespace(counts=np.array(counts), healthy=np.array(healthy), labelled=np.array(labelled))
    )


COUNTS = [[6000, 0, 0, 0], [5999, 7000, 0, 0], [0, 0, 0, 0], [-1, -1, -1, -1]]


def test_table_1_counts_slices_by_pixels_of_healthy_lung_too():
    """A slice with a pattern can be healthy as well: three labelled slices, two with T healthy pixels."""
    found = positive_negative(slices(COUNTS, [6000, 5999, 50000, -1], [True, True, True, False]), 6000)
    assert (found["healthy", "Positive"], found["healthy", "Negative"]) == (2, 1)
    assert (found["ground glass", "Positive"], found["ground glass", "Negative"]) == (1, 2)
    assert (found["reticular", "Positive"], found["reticular", "Negative"]) == (1, 2)
    assert (found["emphysema", "Positive"], found["emphysema", "Negative"]) == (0, 3)


def test_table_1_has_no_count_of_healthy_if_a_slice_does_not_store_it():
    found = positive_negative(slices(COUNTS, [6000, -1, 50000, -1], [True, True, True, False]), 6000)
    assert found["healthy", "Positive"] is None
    assert found["healthy", "Negative"] is None
    assert found["ground glass", "Positive"] == 1


def test_table_9_is_min_max_and_mean_in_seconds():
    found = table_9(np.array([1.0, 2.0, 6.0]), np.array([0.01, 0.03]))
    assert [found["seconds", name] for name in ("patches, min", "patches, max", "patches, mean", "whole slice")] == [
        *(1.0, 6.0, 3.0),
        0.02,
    ]


def test_each_call_is_timed_after_a_warm_up():
    called: list[int] = []
    assert seconds(called.append, 3).shape == (3,)
    assert called == [0, 0, 1, 2]


TRUTH = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [0, 1, 1, 0], [1, 1, 1, 0], [1, 1, 0, 1], [1, 0, 0, 0], [1, 1, 0, 0]]) > 0
WRONG = {4: [1, 0, 0, 1], 6: [1, 0, 0, 0]}


def test_fig_6_has_four_right_slices_with_several_patterns_and_two_wrong():
    predicted = TRUTH.copy()
    for row, values in WRONG.items():
        predicted[row] = np.array(values) > 0
    right, wrong = choose(TRUTH, predicted, np.arange(7).astype(str), seed=0)
    assert sorted(right) == [0, 1, 2, 3]  # slice 5 is right, but has one pattern
    assert sorted(wrong) == [4, 6]


def test_fig_6_prefers_slices_of_different_patients_and_may_show_fewer():
    patients = np.array(["a", "a", "a", "b", "c", "c", "d"])
    for seed in range(5):
        right, wrong = choose(TRUTH, TRUTH, patients, seed=seed)
        assert len(right) == 4
        assert len(set(right)) == 4
        assert {"a", "b", "c", "d"} == {patients[row] for row in right}
        assert wrong == []


@pytest.mark.parametrize("seed", [1, 2])
def test_fig_6_is_the_same_for_the_same_seed(seed):
    patients = np.arange(7).astype(str)
    assert choose(TRUTH, TRUTH, patients, seed=seed) == choose(TRUTH, TRUTH, patients, seed=seed)
