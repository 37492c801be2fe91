"""The CUDA kernels, run on the CPU, on data that are numerically hard: large offsets, distances, overflow, NaN."""

import numpy as np
import pytest
from problems import channel_first, descriptors, distances, mixture
from test_cuda_emulated import agree, computed

from ildfv.errors import InputError
from ildfv.kernels import reference
from ildfv.kernels.cuda import launches

pytestmark = pytest.mark.slow


def test_half_floats_of_every_kind_are_read_exactly(device):
    # Subnormal, smallest normal, one and largest value: one descriptor each, and a wide component.
    values = np.array([6e-8, 6.1e-5, 0.0, -0.0, 1.0, -2.5, 65504.0], dtype=np.float16).reshape(1, -1, 1)
    parameters = np.ones(1), np.zeros((1, 1)), np.full((1, 1), 1e8)
    agree(device, values, parameters, tolerance=1e-6)


def test_large_offsets_do_not_reduce_accuracy(device, rng):
    parameters = mixture(rng, 6, 12, offset=1e4)
    x = descriptors(rng, parameters, 2, 100)  # as float32 the input has an error of 1e-3 standard deviations
    agree(device, x, parameters, tolerance=2e-5)


def test_variances_over_twelve_orders_of_magnitude_agree(device, rng):
    weights, means, _ = mixture(rng, 5, 9)
    variances = 10.0 ** rng.uniform(-6, 6, (5, 9))
    parameters = weights, means * np.sqrt(variances), variances
    agree(device, descriptors(rng, parameters, 2, 80), parameters, tolerance=2e-6)


def test_descriptors_far_from_all_means_agree(device, rng):
    parameters = mixture(rng, 5, 9)
    x = descriptors(rng, parameters, 2, 80) + np.float32(1e3)  # every density underflows without log-sum-exp
    agree(device, x, parameters, tolerance=1e-4)


def test_squares_beyond_float32_are_computed_in_double(device, rng):
    parameters = mixture(rng, 2, 3)
    x = descriptors(rng, parameters, 2, 10)
    x[1, 3] = 1e20
    result = computed(device, x, parameters, pooled=True)
    assert max(distances(result, reference.moments(x, *parameters, pooled=True))) < 1e-5


def test_distances_that_overflow_do_not_affect_other_descriptors(device, rng):
    # For a narrow component the squared distances of all other descriptors are infinite, and its posterior is 0.
    weights, means, variances = np.array([0.5, 0.5]), np.zeros((2, 3)), np.array([[1.0] * 3, [1e-38] * 3])
    x = rng.normal(size=(1, 70, 3)).astype(np.float32) + np.float32(5)
    x[0, [40, 41, 66]] = rng.normal(size=(3, 3)) * 1e-19
    agree(device, x, (weights, means, variances))


@pytest.mark.parametrize("to", ["float32", "float64"])
def test_pieces_are_added_more_precisely_than_in_float32(device, rng, to):
    pieces, k, d = 64, 3, 5
    values = [rng.normal(size=shape).astype(np.float32) for shape in ((pieces, k), (pieces, k, d), (pieces, k, d))]
    values[1][::2] += np.float32(1e6)
    values[1][1::2] -= np.float32(1e6)  # the sum almost cancels
    values[2][5, 1, 2] = np.inf
    sums = [device.upload(a) for a in (*values, rng.normal(size=pieces))]
    out = [device.empty(shape, to) for shape in ((k,), (k, d), (k, d))] + [device.empty((1,), "float64")]
    device.launch(
        f"finish_float32_{to}", (1, 1), 256, 0, (*map(device.address, (*sums, *out)), d, k, pieces, pieces, 0)
    )
    for found, terms in zip(out, sums, strict=True):
        expected = np.asarray(terms, np.float64).sum(axis=0)
        finite = np.isfinite(expected)
        assert np.array_equal(np.asarray(found)[~finite.reshape(found.shape)], expected[~finite])  # infinite, not NaN
        error = np.abs(np.asarray(found, np.float64)[finite.reshape(found.shape)] - expected[finite])
        assert error.max() <= (1e-6 if to == "float32" else 1e-7) * np.abs(expected[finite]).max()


def test_a_component_of_weight_zero_has_no_mass(device, rng):
    weights, means, variances = mixture(rng, 4, 5)
    weights = np.array([0.5, 0.0, 0.25, 0.25])
    with np.errstate(divide="ignore"):
        result = agree(device, descriptors(rng, (weights, means, variances), 1, 50), (weights, means, variances))
    assert result.s0[0, 1] == 0
    assert not result.s1[0, 1].any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("n", [1, 70, 600])
def test_a_non_finite_value_is_located(device, rng, bad, n):
    parameters = mixture(rng, 4, 6)
    x = descriptors(rng, parameters, 3, n)
    x[2, n // 2, 5] = bad
    for maps, pooled in ((x, False), (x, True), (list(x), False)):
        with pytest.raises(InputError, match="maps must be finite, got NaN or infinity in map 2"):
            computed(device, maps, parameters, pooled=pooled)


def test_moments_pooled_over_many_pieces_agree(device, rng, monkeypatch):
    monkeypatch.setattr(launches, "GROUP", 2)
    parameters = mixture(rng, 3, 4)
    x = descriptors(rng, parameters, 7, 600)
    for maps in (x, x[:, ::2], channel_first(x, 30), list(x)):
        like = maps if isinstance(maps, list) or maps.ndim == 3 else x
        whole = agree(device, maps, parameters, like=like, pooled=True)
        with monkeypatch.context() as patched:
            patched.setattr(launches, "ROUND_BYTES", 1 << 9)  # several rounds, each of several groups
            assert all(map(np.array_equal, computed(device, maps, parameters, pooled=True), whole))
