"""Labels of the wrong type are refused in one line; missing labels are refused only where each row needs a class."""

from decimal import Decimal

import numpy as np
import pytest

from ildfv import MultivariateRegression
from ildfv.errors import InputError
from ildfv.estimators.labels import class_labels

X = np.random.default_rng(0).normal(size=(8, 2))
NUMBERS = list(range(1, 8))


class NAType:
    """Stands for pandas' NA, whose class has this name."""


@pytest.mark.parametrize("missing", [None, np.nan, NAType(), Decimal("nan")])
def test_a_missing_number_is_ignored(missing):
    found = MultivariateRegression().fit(X, [missing, *NUMBERS])
    expected = MultivariateRegression().fit(X, np.array([np.nan, *NUMBERS]))
    np.testing.assert_array_equal(found.coef_, expected.coef_)
    assert found.score(X, [missing, *NUMBERS]) == expected.score(X, np.array([np.nan, *NUMBERS]))


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (["a", *NUMBERS], r"y must contain numbers, .*, got 'a' \(str\) at index 0"),
        (["1", *NUMBERS], r"y must contain numbers, .*, got '1' \(str\) at index 0"),
        (np.array([*NUMBERS, "b"], dtype=object), r"got 'b' \(str\) at index 7"),
        ([[1, "c"]] * 8, r"got 'c' \(str\) at index \(0, 1\)"),
        ([{}, *NUMBERS], r"got '{}' \(dict\) at index 0"),
        ([[1, 2], [3]] * 4, r"got '\[1, 2\]' \(list\) at index 0"),
        (set(range(8)), "y must be an array or a list, got a set"),
        (None, "y must have one label|requires y to be passed"),
        (np.array([*NUMBERS, 8]) * 1j, "Y must contain real numbers, got dtype complex128"),
        (np.array(["2020-01-01"] * 8, dtype="datetime64[D]"), "Y must contain real numbers, got dtype datetime64"),
        (np.array([b"1"] * 8), "Y must contain real numbers, got dtype bytes"),
    ],
)
def test_fit_and_score_refuse_other_labels_in_one_line(y, message):
    fitted = MultivariateRegression().fit(X, np.arange(8.0))
    for use in (MultivariateRegression().fit, fitted.score):
        with pytest.raises(InputError, match=message) as raised:
            use(X, y)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (["a", None], "y must have no missing labels, got None at index 1: omit such images"),
        (["a", np.nan], "y must have no missing labels, got nan at index 1: omit such images"),
        ([1.0, np.nan], "y must have no missing labels, got nan at index 1: omit such images"),
        (np.array([1.0, np.nan]), "y must have no missing labels, got nan at index 1: omit such images"),
        (["a", NAType()], "y must have no missing labels, got .* at index 1: omit such images"),
        (["a", 1], r"only strings or only numbers, got 'a' \(str\) at index 0 and '1' \(int\) at index 1: convert all"),
        ([1, "a"], r"only strings or only numbers, got '1' \(int\) at index 0 and 'a' \(str\) at index 1: convert all"),
        (["a", ("b",)], r"y must contain strings or numbers, got \"\('b',\)\" \(tuple\) at index 1"),
        ([["a"], ["b"]], r"y must be one-dimensional, with one label per image, got shape \(2, 1\)"),
        ("ab", r"y must be one-dimensional, with one label per image, got shape \(\)"),
        ({"a", "b"}, "y must be an array or a list, got a set"),
        (None, "y must have one label per row or image, got None"),
    ],
)
def test_classes_that_are_missing_or_of_several_types_are_refused(y, message):
    with pytest.raises(InputError, match=message):
        class_labels(y)


@pytest.mark.parametrize("y", [["b", "a"], [2, 1], [True, False], [1.5, 2.0], np.array([1, 2], np.int8)])
def test_strings_and_numbers_are_classes(y):
    found = class_labels(y)
    assert found.tolist() == list(y)
    assert found.dtype == np.asarray(y).dtype
