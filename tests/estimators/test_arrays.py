"""ildfv.arrays: conversion between array libraries, checks and their messages."""

import numpy as np
import pytest
import torch

from ildfv.arrays import check_finite, check_shape, dtype_name, is_torch, like, to_float64, to_numpy
from ildfv.errors import InputError


def test_conversion_between_libraries_keeps_values():
    x = np.arange(6.0).reshape(2, 3)[:, ::-1]
    tensor = like(x, torch.zeros(1), "float32")
    assert is_torch(tensor)
    assert dtype_name(tensor) == "float32" == dtype_name(x.astype(np.float32))
    np.testing.assert_array_equal(to_numpy(tensor), x)
    assert to_float64(tensor).dtype == torch.float64
    assert like(np.zeros(()), torch.zeros(3)).shape == ()
    np.testing.assert_array_equal(to_numpy(torch.tensor([1.5], dtype=torch.bfloat16)), [1.5])
    assert to_numpy(torch.ones(2, requires_grad=True)).sum() == 2


def test_shape_errors_name_the_array():
    check_shape(np.zeros((2, 3)), "means", (None, 3))
    with pytest.raises(InputError, match=r"means must have shape \(32, 64\), got \(64, 32\)"):
        check_shape(np.zeros((64, 32)), "means", (32, 64))
    with pytest.raises(InputError, match=r"weights must have shape \(3,\), got \(3, 1\)"):
        check_shape(torch.zeros(3, 1), "weights", (3,))


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_errors_locate_non_finite_values(kind, dtype):
    x = np.ones((4, 2, 3), dtype=dtype)
    check_finite(kind(x), "x")
    x[2, 1, 0] = -np.inf
    x[3, 0, 0] = np.nan
    with pytest.raises(InputError, match="x must be finite, got -inf in map 2"):
        check_finite(kind(x), "x", axis="map")


def test_overflowing_sums_are_not_taken_for_infinite_values():
    check_finite(np.full(1000, 3e38, dtype=np.float32), "x")
    check_finite(np.full(1000, 6e4, dtype=np.float16), "x")
    check_finite(np.ones(3, dtype=np.uint8), "x")
