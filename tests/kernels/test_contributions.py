"""Contributions of descriptors: they equal the reference and add up to the functional of the moments."""

import functools

import numpy as np
import pytest
from test_moments_cpu import INSTRUCTION_SETS, SHAPES, draw, mixture_of
from test_moments_weights import drawn_weights

from ildfv.errors import InputError
from ildfv.kernels import cpu, reference

TOLERANCE = {np.float32: 1e-4, np.float64: 1e-10}


@pytest.fixture(params=INSTRUCTION_SETS)
def isa(request):
    cpu.set_instruction_set(request.param)
    yield request.param
    cpu.set_instruction_set(None)


def functionals(c, k, d, *, b=None, seed=3):
    """Coefficients (C, k, d), or (b, C, k, d), of t and of t² − 1."""
    rng = np.random.default_rng(seed)
    shape = (c, k, d) if b is None else (b, c, k, d)
    return rng.normal(size=shape), rng.normal(size=shape)


@functools.cache  # for all instruction sets
def problem(n, d, k, spread, dtype):
    """(mixture, maps, [(the coefficients of some functionals, their contributions according to the reference), …])."""
    mixture = mixture_of(k, d, spread=spread)
    x = draw(2, min(n, 400), mixture, dtype=dtype)
    given = [functionals(c, k, d, b=2 if per_map else None) for c, per_map in ((4, True), (7, False), (1, False))]
    return mixture, x, [(pair, reference.contributions(x, *mixture, *pair)) for pair in given]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n", "d", "k"), SHAPES)
@pytest.mark.parametrize("spread", [0.7, 0.05], ids=["peaky", "soft"])
def test_contributions_equal_the_reference(isa, n, d, k, spread, dtype):
    mixture, x, expectations = problem(n, d, k, spread, dtype)
    for (first, second), expected in expectations:
        found = cpu.contributions(x, *mixture, first, second)
        for a, e in zip(found, expected, strict=True):
            assert a.shape == e.shape
            assert np.abs(a - e).max() <= TOLERANCE[dtype] * np.sqrt(d) * max(1.0, np.abs(e).max())


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("spread", [0.7, 0.05], ids=["peaky", "soft"])
def test_contributions_add_up_to_the_functional_of_the_moments(isa, spread, weighted):
    k, d, b = 32, 64, 3
    mixture = mixture_of(k, d, spread=spread)
    x = draw(b, 700, mixture)
    weights = drawn_weights(b, 700) if weighted else None
    first, second = functionals(4, k, d, b=b)
    m = cpu.moments(x.astype(np.float64), *mixture, descriptor_weights=weights)
    expected = np.einsum("bckd,bkd->bc", first, m.s1) + np.einsum("bckd,bkd->bc", second, m.s2 - m.s0[..., None])
    found = cpu.contributions(x.astype(np.float64), *mixture, first, second, descriptor_weights=weights)
    np.testing.assert_allclose([a.sum(axis=0) for a in found], expected, rtol=1e-9, atol=1e-8)


def test_descriptors_of_weight_0_contribute_0_and_are_not_read():
    mixture = mixture_of(5, 8)
    x, weights = draw(3, 40, mixture), drawn_weights(3, 40)
    weights[1] = 0
    x[weights == 0] = np.nan
    first, second = functionals(2, 5, 8, b=3)
    found = cpu.contributions(x, *mixture, first, second, descriptor_weights=weights)
    expected = reference.contributions(x, *mixture, first, second, descriptor_weights=weights)
    for a, e, w in zip(found, expected, weights, strict=True):
        assert not a[w == 0].any()
        np.testing.assert_allclose(a, e, atol=1e-4)


@pytest.mark.parametrize("layout", ["list", "channel-first"])
def test_lists_and_channel_first_maps_equal_the_reference(layout):
    mixture = mixture_of(5, 8)
    x = draw(3, 48, mixture)
    first, second = functionals(2, 5, 8)
    given = {"list": [x[0], x[1, :7], x[2]], "channel-first": np.moveaxis(x, 2, 1).reshape(3, 8, 6, 8)}[layout]
    expected = reference.contributions(given, *mixture, first, second)
    for a, e in zip(cpu.contributions(given, *mixture, first, second), expected, strict=True):
        np.testing.assert_allclose(a, e, atol=1e-4)


def test_bits_do_not_depend_on_threads():
    mixture = mixture_of(16, 12)
    x = draw(3, 2500, mixture)
    first, second = functionals(4, 16, 12)
    found = []
    for threads in (1, 2, 5):
        cpu.set_num_threads(threads)
        found.append(cpu.contributions(x, *mixture, first, second))
    cpu.set_num_threads(None)
    assert all(np.array_equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


def test_wrong_shapes_and_values_are_refused():
    mixture = mixture_of(5, 8)
    x = draw(2, 40, mixture)
    first, second = functionals(2, 5, 8)
    with pytest.raises(InputError, match=r"first must have shape \(C, 5, 8\) or \(2, C, 5, 8\), got \(1, 2, 5, 7\)"):
        cpu.contributions(x, *mixture, first[..., :7], second[..., :7])
    with pytest.raises(InputError, match="second must have shape"):
        cpu.contributions(x, *mixture, first, second[:1])
    with pytest.raises(InputError, match="first must be finite"):
        cpu.contributions(x, *mixture, first * np.inf, second)
    x[1, 3, 2] = np.nan
    with pytest.raises(InputError, match="in map 1"):
        cpu.contributions(x, *mixture, first, second)
