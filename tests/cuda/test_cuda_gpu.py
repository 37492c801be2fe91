"""Tests on a real GPU: all shapes, variants and element types agree with the specification (`pytest -m gpu`)."""

import numpy as np
import pytest
from gpu_support import agree, force, fresh_rng, host, needs_gpu, torch
from problems import (
    bfloat16_bits,
    channel_first,
    descriptors,
    distances,
    from_bits,
    mixture,
)

from ildfv.errors import InputError
from ildfv.kernels import Moments, reference
from ildfv.kernels.cuda import contributions, em, fisher, launches, moments
from ildfv.kernels.cuda import device as devices

pytestmark = [pytest.mark.gpu, needs_gpu]


@pytest.fixture
def rng():
    return fresh_rng()


SHAPES = [(8, 2916, 64, 32), (16, 729, 256, 32), (32, 169, 256, 32), (2, 2916, 64, 256), (64, 1, 4096, 32)]
ODD = [(1, 1, 1, 1), (3, 65, 65, 33), (2, 1000, 3, 7), (70, 1, 300, 100), (1, 70, 4096, 9), (1, 100, 5, 1024)]


@pytest.mark.parametrize(("b", "n", "d", "k"), SHAPES + ODD)
@pytest.mark.parametrize("spread", [0.3, 3.0], ids=["soft", "peaky"])
def test_every_shape_agrees(put, rng, b, n, d, k, spread):
    parameters = mixture(rng, k, d, spread=spread)
    x = descriptors(rng, parameters, b, n)
    tolerance = 1e-4 if d == 4096 else 1e-5
    rows = agree(put(x), x, parameters, tolerance=tolerance)
    width = 54 if n == 2916 else 27 if n == 729 else 13 if n == 169 else 1
    maps = agree(put(channel_first(x, width)), x, parameters, tolerance=tolerance)
    assert all(np.array_equal(a, b) for a, b in zip(rows, maps, strict=True))


def of_element_type(put, rng, element, b, n, d, k):
    """Maps of the element on the device, their values, and a mixture for them. CuPy has no bfloat16 of its own."""
    parameters = mixture(rng, k, d)
    if element == "uint8":
        parameters = (parameters[0], parameters[1] * 30 + 128, parameters[2] * 900)
        x = np.clip(descriptors(rng, parameters, b, n), 0, 255).astype(np.uint8)
        return put(x), x, parameters
    x = descriptors(rng, parameters, b, n)
    if element == "bfloat16":
        on_device = put(from_bits(bfloat16_bits(x)))
        if type(on_device).__module__ != "torch":
            pytest.skip("CuPy has no bfloat16 without ml_dtypes")
        return on_device.to(torch.bfloat16), from_bits(bfloat16_bits(x)), parameters
    return put(x.astype(element)), x.astype(element), parameters


@pytest.mark.parametrize(("b", "n", "d", "k"), SHAPES + ODD)
@pytest.mark.parametrize("element", ["float64", "float16", "bfloat16", "uint8"])
def test_every_element_type_agrees_at_every_shape(put, rng, element, b, n, d, k):
    maps, like, parameters = of_element_type(put, rng, element, min(b, 4), n, d, k)
    tolerance = 1e-11 if element == "float64" else 1e-4 if d == 4096 else 1e-5
    agree(maps, like, parameters, tolerance=tolerance, with_cpu=element != "bfloat16")
    agree(maps, like, parameters, tolerance=tolerance, with_cpu=element != "bfloat16", pooled=True)


@pytest.mark.parametrize("variant", launches.VARIANTS)
@pytest.mark.parametrize("element", ["float16", "bfloat16", "uint8"])
def test_every_variant_reads_every_element_type(put, rng, variant, element):
    force(variant, "float32", 37, 70)
    maps, like, parameters = of_element_type(put, rng, element, 3, 700, 70, 37)
    agree(maps, like, parameters, with_cpu=element != "bfloat16")


@pytest.mark.parametrize("options", [{}, {"improved": False, "order": "moment", "weight_part": True}])
@pytest.mark.parametrize("real", ["float32", "float64"])
@pytest.mark.parametrize(("b", "k", "d"), [(5, 32, 64), (2, 7, 4096), (300, 33, 3)])
def test_fisher_vectors_agree(put, rng, b, k, d, real, options):
    n, weights = rng.integers(1, 900, b).astype(np.float64), rng.dirichlet(np.ones(k))
    s0 = (rng.uniform(0, 1, (b, k)) * n[:, None] / k).astype(real)
    s1, s2 = (rng.normal(size=(b, k, d)).astype(real) for _ in range(2))
    given = Moments(s0, s1, s2, np.zeros(b, real))
    found = fisher.vectors(Moments(*(put(a) for a in given)), n, weights, **options)
    expected = reference.vectors(given, n, weights, **options)
    assert distances(host([found]), [expected])[0] < (1e-6 if real == "float32" else 1e-13)


@pytest.mark.parametrize("inertia", [0.0, 70.5])
@pytest.mark.parametrize(("k", "d"), [(1, 1), (32, 64), (9, 4096)])
def test_the_m_step_gives_the_bits_of_numpy(put, rng, k, d, inertia):
    sums = rng.uniform(0, 90, k), rng.normal(size=(k, d)) * 40, rng.uniform(60, 150, (k, d))
    parameters = mixture(rng, k, d)
    found = em.m_step(*(put(a) for a in sums), *parameters, inertia=inertia)
    s0, prior = sums[0] + inertia * parameters[0], (inertia * parameters[0])[:, None]
    mass = np.maximum(s0, reference.MIN_MASS)[:, None]
    shift = sums[1] / mass
    means = parameters[1] + np.sqrt(parameters[2]) * shift
    variances = parameters[2] * ((sums[2] + prior) / mass - shift**2)
    assert all(map(np.array_equal, found, (s0, means, variances)))


@pytest.mark.parametrize("variant", launches.VARIANTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_variant_agrees(put, rng, variant, dtype):
    force(variant, np.dtype(dtype).name, 37, 70)
    parameters = mixture(rng, 37, 70, spread=0.7)
    x = descriptors(rng, parameters, 4, 1500, dtype)
    agree(put(x), x, parameters, tolerance=1e-12 if dtype == np.float64 else 1e-5)


@pytest.mark.parametrize("n", [1, 169, 2916])
def test_pooled_moments_agree(put, rng, n):
    parameters = mixture(rng, 32, 64)
    x = descriptors(rng, parameters, 40, n)
    agree(put(x), x, parameters, pooled=True)
    agree(put(channel_first(x, 1)), x, parameters, pooled=True)


def test_ragged_maps_agree(put, rng):
    parameters = mixture(rng, 32, 64)
    maps = [descriptors(rng, parameters, 1, n)[0] for n in (1, 2916, 64, 700)]
    agree([put(a) for a in maps], maps, parameters)


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("n", [1, 700])
def test_weighted_descriptors_agree(put, rng, n, pooled):
    parameters = mixture(rng, 37, 70, spread=0.7)
    x = descriptors(rng, parameters, 5, n)
    weights = np.where(rng.random((5, n)) < 0.4, 0.0, 3 * rng.random((5, n)))
    weights[0] = 0.5
    x[weights == 0] = np.nan
    for variant in (None, *launches.fitting_variants("float32", 37, 70, devices.first_device().shared_limit)):
        moments.set_variant(variant)
        agree(put(x), x, parameters, pooled=pooled, descriptor_weights=weights)
    agree([put(a) for a in x], x, parameters, pooled=pooled, descriptor_weights=list(weights))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n", "d", "k"), [(2916, 64, 32), (70, 5, 1024), (1, 300, 9)])
def test_contributions_agree(put, rng, n, d, k, dtype):
    parameters = mixture(rng, k, d)
    x = descriptors(rng, parameters, 3, n, dtype)
    weights = np.where(rng.random((3, n)) < 0.4, 0.0, 3 * rng.random((3, n)))
    first, second = rng.normal(size=(2, 3, 5, k, d))
    for given in (None, weights):
        expected = reference.contributions(x, *parameters, first, second, descriptor_weights=given)
        found = contributions.contributions(put(x), *parameters, first, second, descriptor_weights=given)
        assert type(found[0]) is type(put(x))
        for a, e in zip(host(found), expected, strict=True):
            assert np.linalg.norm(a - e) <= (1e-4 if dtype == np.float32 else 1e-11) * np.linalg.norm(e)


def test_equal_runs_give_equal_bits(put, rng):
    parameters = mixture(rng, 32, 64)
    x = put(descriptors(rng, parameters, 16, 2916))
    first = host(moments.moments(x, *parameters))
    for _ in range(20):
        assert all(np.array_equal(a, b) for a, b in zip(first, host(moments.moments(x, *parameters)), strict=True))
    assert all(
        np.array_equal(a[3:5], b) for a, b in zip(first, host(moments.moments(x[3:5], *parameters)), strict=True)
    )


def test_a_non_finite_value_is_located(put, rng):
    parameters = mixture(rng, 4, 6)
    x = descriptors(rng, parameters, 3, 700)
    x[1, 600, 2] = np.nan
    with pytest.raises(InputError, match="in map 1"):
        moments.moments(put(x), *parameters)


def test_squares_beyond_float32_are_computed_in_double(put, rng):
    parameters = mixture(rng, 2, 3)
    x = descriptors(rng, parameters, 2, 10)
    x[1, 3] = 1e20
    agree(put(x), x, parameters, pooled=True)
