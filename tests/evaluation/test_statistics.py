"""Tables 1 and 2, compared with counts by hand."""

import json

import numpy as np
import pytest

from ildfv.errors import InputError
from ildfv.evaluation.statistics import statistics
from ildfv.patterns import PATTERNS, presence

A, B, C = 6000, 5999, 40000
PATIENTS = ["p", "p", "q", "q", "r", "s"]
COUNTS = [[A, C, 0, 0], [A, 0, 0, 0], [A, A, 0, B], [0, 0, 0, B], [0, 0, 0, 0], [-1, -1, -1, -1]]


def test_slices_and_patients_are_counted_per_pattern():
    s = statistics(presence(np.array(COUNTS), 6000), PATIENTS, labels=PATTERNS, threshold=6000)
    assert s["slices"] == 5
    assert s["patients"] == 3
    assert s["unlabelled_slices"] == 1
    assert s["unlabelled_patients"] == 1
    assert s["per_pattern"] == {
        "ground glass": {"slices": 3, "patients": 2},
        "reticular": {"slices": 2, "patients": 2},
        "honeycomb": {"slices": 0, "patients": 0},
        "emphysema": {"slices": 0, "patients": 0},
    }
    assert s["healthy"] == {"slices": 2, "patients": 1}


def test_a_patient_with_a_pattern_on_an_incompletely_labelled_slice_is_not_healthy():
    shown = np.array([[0, 0, 0, 0], [1, -1, 0, 0]])
    s = statistics(shown, ["p", "p"], labels=PATTERNS, threshold=6000)
    assert s["healthy"] == {"slices": 1, "patients": 0}


def test_co_occurring_patterns_are_counted():
    s = statistics(presence(np.array(COUNTS), 6000), PATIENTS, labels=PATTERNS, threshold=6000)
    assert s["by_number"] == [2, 1, 2, 0, 0]
    assert s["co_occurrence"][0] == [3, 2, 0, 0]
    assert s["combinations"] == [
        {"patterns": [], "slices": 2, "patients": 2},
        {"patterns": ["ground glass", "reticular"], "slices": 2, "patients": 2},
        {"patterns": ["ground glass"], "slices": 1, "patients": 1},
    ]
    assert sum(s["by_number"]) == sum(c["slices"] for c in s["combinations"]) == s["slices"]


def test_the_threshold_decides_and_the_result_is_json():
    s = statistics(presence(np.array(COUNTS), 4000), PATIENTS, labels=PATTERNS, threshold=4000)
    assert s["per_pattern"]["emphysema"] == {"slices": 2, "patients": 1}
    assert json.loads(json.dumps(s)) == s


def test_without_labelled_slices_all_counts_are_0_and_a_wrong_shape_is_refused():
    s = statistics(np.full((2, 4), -1), ["p", "q"], labels=PATTERNS, threshold=6000)
    assert s["slices"] == 0
    assert s["by_number"] == [0] * 5
    assert s["combinations"] == []
    with pytest.raises(InputError, match=r"presence must have shape \(2, 4\), got \(3, 4\)"):
        statistics(np.zeros((3, 4)), ["p", "q"], labels=PATTERNS, threshold=6000)
