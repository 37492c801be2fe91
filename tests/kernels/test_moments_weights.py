"""Weights of descriptors: how much each counts, on every instruction set, against the reference."""

import functools

import numpy as np
import pytest
from test_moments_cpu import INSTRUCTION_SETS, SHAPES, TOLERANCE, assert_close, draw, mixture_of

from ildfv.errors import InputError
from ildfv.kernels import Moments, cpu, moments, reference


@pytest.fixture(params=INSTRUCTION_SETS)
def isa(request):
    cpu.set_instruction_set(request.param)
    yield request.param
    cpu.set_instruction_set(None)


def drawn_weights(b, n, seed=5):
    """Weights in [0, 1], 40 % of them 0."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random((b, n)) < 0.4, 0.0, rng.random((b, n)))


@functools.cache  # for all instruction sets
def problem(n, d, k, spread, dtype):
    """(mixture, maps, weights, weighted moments of the reference per map, pooled)."""
    mixture = mixture_of(k, d, spread=spread)
    x, weights = draw(3, n, mixture, dtype=dtype), drawn_weights(3, n)
    expected = [reference.moments(x, *mixture, pooled=pooled, descriptor_weights=weights) for pooled in (False, True)]
    return mixture, x, weights, expected


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n", "d", "k"), SHAPES)
@pytest.mark.parametrize("spread", [0.7, 0.05], ids=["peaky", "soft"])
def test_weighted_moments_equal_the_reference(isa, n, d, k, spread, dtype):
    mixture, x, weights, expected = problem(n, d, k, spread, dtype)
    for pooled in (False, True):
        assert_close(
            cpu.moments(x, *mixture, pooled=pooled, descriptor_weights=weights),
            expected[pooled],
            3 * TOLERANCE[dtype],  # sums of fewer descriptors, in which rounding errors average out less
        )


@pytest.mark.parametrize("spread", [0.7, 0.05], ids=["peaky", "soft"])
def test_weights_of_one_change_no_bit_of_the_sums(isa, spread):
    mixture = mixture_of(32, 64, spread=spread)
    x = draw(4, 300, mixture)
    plain = cpu.moments(x, *mixture)
    weighted = cpu.moments(x, *mixture, descriptor_weights=np.ones((4, 300)))
    for a, b in zip(plain[:3], weighted[:3], strict=True):
        assert np.array_equal(a, b)
    np.testing.assert_allclose(plain.log_likelihood, weighted.log_likelihood, rtol=1e-6)


@pytest.mark.parametrize("spread", [0.7, 0.05], ids=["peaky", "soft"])
def test_an_integer_weight_equals_that_many_duplicates(spread):
    mixture = mixture_of(9, 20, spread=spread)
    x = draw(1, 80, mixture, dtype=np.float64)[0]
    times = np.random.default_rng(0).integers(0, 4, len(x))
    repeated = cpu.moments([np.repeat(x, times, axis=0)], *mixture)
    weighted = cpu.moments([x], *mixture, descriptor_weights=[times])
    assert_close(weighted, repeated, 1e-11)


def test_descriptors_of_weight_0_are_not_read():
    mixture = mixture_of(5, 8)
    x, weights = draw(2, 40, mixture), drawn_weights(2, 40)
    spoilt = x.copy()
    spoilt[weights == 0] = np.nan
    a, b = (cpu.moments(maps, *mixture, descriptor_weights=weights) for maps in (x, spoilt))
    assert all(np.array_equal(p, q) for p, q in zip(a, b, strict=True))


def test_a_map_without_weight_has_sums_of_0_and_changes_no_other():
    mixture = mixture_of(5, 8)
    x, weights = draw(3, 40, mixture), drawn_weights(3, 40)
    weights[1] = 0
    found = cpu.moments(x, *mixture, descriptor_weights=weights)
    others = cpu.moments(x[[0, 2]], *mixture, descriptor_weights=weights[[0, 2]])
    for a, b in zip(found, others, strict=True):
        assert not a[1].any()
        assert np.array_equal(a[[0, 2]], b)
    pooled = cpu.moments(x[:1], *mixture, descriptor_weights=np.zeros((1, 40)), pooled=True)
    assert not any(a.any() for a in pooled)
    assert pooled.s1.shape == (5, 8)


@pytest.mark.parametrize("layout", ["maps", "list", "channel-first"])
def test_layouts_and_ragged_lists_give_the_same(layout):
    mixture = mixture_of(5, 8)
    x, weights = draw(3, 48, mixture), drawn_weights(3, 48)
    expected = reference.moments(x, *mixture, descriptor_weights=weights)
    given = {"maps": x, "list": list(x), "channel-first": np.moveaxis(x, 2, 1).reshape(3, 8, 6, 8)}[layout]
    assert_close(cpu.moments(given, *mixture, descriptor_weights=weights), expected, 1e-5)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_bits_do_not_depend_on_threads(threads):
    mixture = mixture_of(16, 12)
    x, weights = draw(3, 2500, mixture), drawn_weights(3, 2500)
    cpu.set_num_threads(threads)
    try:
        found = cpu.moments(x, *mixture, descriptor_weights=weights)
    finally:
        cpu.set_num_threads(None)
    cpu.set_num_threads(1)
    try:
        one = cpu.moments(x, *mixture, descriptor_weights=weights)
    finally:
        cpu.set_num_threads(None)
    assert all(np.array_equal(a, b) for a, b in zip(found, one, strict=True))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones((2, 39)), r"one value per descriptor \(40 in map 0\), got shape \(39,\)"),
        (np.ones((1, 40)), r"weights must have one entry per map \(2\), got 1"),
        (np.full((2, 40), np.nan), "finite and at least 0, got nan"),
        (np.full((2, 40), -1.0), "finite and at least 0, got -1"),
        (np.full((2, 40), np.inf), "finite and at least 0, got inf"),
    ],
)
def test_weights_that_break_a_rule_are_refused(weights, message):
    mixture = mixture_of(5, 8)
    with pytest.raises(InputError, match=message):
        cpu.moments(draw(2, 40, mixture), *mixture, descriptor_weights=weights)


def test_the_error_for_a_non_finite_map_has_the_number_of_that_map():
    mixture = mixture_of(5, 8)
    x, weights = draw(3, 40, mixture), np.ones((3, 40))
    x[2, 7, 3], weights[0] = np.nan, 0
    with pytest.raises(InputError, match="NaN or infinity in map 2"):
        cpu.moments(x, *mixture, descriptor_weights=weights)


def test_torch_maps_and_weights_give_torch_tensors():
    torch = pytest.importorskip("torch")
    w, means, variances = mixture_of(5, 8)
    mixture = type("M", (), {"weights_": w, "means_": means, "variances_": variances})
    x, weights = draw(2, 40, (w, means, variances)), drawn_weights(2, 40)
    found = moments(torch.from_numpy(x), mixture, weights=torch.from_numpy(weights))
    assert isinstance(found.s1, torch.Tensor)
    assert_close(
        Moments(*(a.numpy() for a in found)),
        reference.moments(x, w, means, variances, descriptor_weights=weights),
        1e-5,
    )
