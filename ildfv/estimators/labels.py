"""Labels of supervised estimators, checked: numbers that may be missing, and classes."""

from __future__ import annotations

import math
import numbers
from decimal import Decimal
from typing import Any

import numpy as np

from ildfv.arrays import check_real, dtype_name, is_array, to_numpy
from ildfv.errors import InputError, check


def numeric_labels(y: Any) -> Any:
    """Labels as an array of real numbers with NaN for missing ones; arrays of numbers are returned unchanged.

    None, NaN and pandas' NA are missing. InputError: another value is not a number, or rows have unequal lengths.
    """
    if is_array(y) and dtype_name(y) != "object":
        check_real(y, "Y")
        return y
    values = _objects(y, "y")
    found = np.empty(values.shape)
    for index, value in np.ndenumerate(values):
        number = isinstance(value, (numbers.Real, np.bool_, Decimal))
        place = index[0] if len(index) == 1 else index
        check(
            number or is_missing(value),
            f"y must contain numbers, with NaN or None for missing labels, got {_shown(value)} at index {place}",
        )
        found[index] = float(value) if number else np.nan
    return found


def class_labels(y: Any, name: str = "y") -> np.ndarray:
    """Classes, or groups, as an array (n,) of strings or of numbers.

    InputError: labels are not one-dimensional, a label is missing or is neither a string nor a number, or there are
    both strings and numbers, because NumPy would silently convert the numbers to strings.
    """
    values = _objects(y, name)
    check(values.ndim == 1, f"{name} must be one-dimensional, with one label per image, got shape {values.shape}")
    first: Any = None
    for i, value in enumerate(values):
        check(not is_missing(value), f"{name} must have no missing labels, got {value} at index {i}: omit such images")
        text, number = isinstance(value, str), isinstance(value, (numbers.Real, np.bool_))
        check(text or number, f"{name} must contain strings or numbers, got {_shown(value)} at index {i}")
        first = value if i == 0 else first
        check(
            isinstance(first, str) == text,
            f"{name} must contain only strings or only numbers, got {_shown(first)} at index 0 and {_shown(value)} at "
            f"index {i}: convert all to strings",
        )
    own = y if isinstance(y, np.ndarray) and y.dtype != object else None
    return np.array(values.tolist()) if own is None else own


def is_missing(value: Any) -> bool:
    """Whether a label is None, NaN, or pandas' NA or NaT, without importing pandas."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, (numbers.Real, Decimal)) and math.isnan(value)


def _objects(y: Any, name: str) -> np.ndarray:
    """The values as an array of objects, which keep their types."""
    check(y is not None, f"{name} must have one label per row or image, got None")
    check(not isinstance(y, (set, frozenset, dict)), f"{name} must be an array or a list, got a {type(y).__name__}")
    y = to_numpy(y) if is_array(y) else y
    try:
        return np.asarray(y, dtype=object)
    except ValueError as error:
        raise InputError(f"{name} must be an array or a list, with rows of equal length: {error}") from error


def _shown(value: Any) -> str:
    return f"{str(value)[:40]!r} ({type(value).__name__})"
