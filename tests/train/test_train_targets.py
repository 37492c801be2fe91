"""The targets of Fig. 3, at their corner points."""

import numpy as np
import pytest

from ildfv.errors import InputError
from ildfv.train.targets import targets

COUNTS = np.array([[0, 2999, 3000, 5999], [6000, 7500, 9000, 20000]], np.int32)


def test_presence_is_minus_one_or_one():
    assert targets("presence", COUNTS, threshold=6000).tolist() == [[-1, -1, -1, -1], [1, 1, 1, 1]]


def test_step_is_zero_or_one():
    assert targets("step", COUNTS, threshold=3000).tolist() == [[0, 0, 1, 1], [1, 1, 1, 1]]


def test_counts_are_in_units_of_the_threshold():
    assert targets("counts", COUNTS, threshold=6000)[1].tolist() == pytest.approx([1, 1.25, 1.5, 20 / 6])


def test_ramp_rises_from_t1_to_t2():
    y = targets("ramp", COUNTS, threshold=6000)  # T/2 = 3000 … 3T/2 = 9000
    assert y.tolist() == [pytest.approx([0, 0, 0, 2999 / 6000]), pytest.approx([0.5, 0.75, 1, 1])]
    assert targets("ramp", COUNTS, ramp=(0, 6000))[0].tolist() == pytest.approx([0, 2999 / 6000, 0.5, 5999 / 6000])


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("pixels", {}, "target must be one of presence, counts, step, ramp"),
        ("ramp", {"ramp": (9000, 3000)}, "T1 < T2"),
        ("step", {"threshold": 0}, "threshold must be positive"),
    ],
)
def test_rules_are_named(kind, options, message):
    with pytest.raises(InputError, match=message):
        targets(kind, COUNTS, **options)


def test_unlabelled_counts_are_refused():
    with pytest.raises(InputError, match="unlabelled"):
        targets("presence", np.array([[-1, -1, -1, -1]]))
