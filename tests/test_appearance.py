"""Patients are numbered in the order of their first slice."""

import numpy as np

from ildfv.appearance import by_appearance


def test_names_are_numbered_by_their_first_appearance():
    distinct, first, number = by_appearance(np.array(["c", "a", "c", "b", "a"]))
    assert distinct.tolist() == ["c", "a", "b"]
    assert first.tolist() == [0, 1, 3]
    assert number.tolist() == [0, 1, 0, 2, 1]


def test_other_names_give_the_same_numbers():
    drawn = np.random.default_rng(0).integers(0, 9, 100)
    names = np.array(list("qwertzuio"))
    np.testing.assert_array_equal(by_appearance(names[drawn])[2], by_appearance(names[::-1][drawn])[2])
    np.testing.assert_array_equal(by_appearance(names[drawn])[2], by_appearance(drawn)[2])


def test_no_names():
    assert [array.tolist() for array in by_appearance(np.empty(0, str))] == [[], [], []]
