"""The CPU kernel against the reference, for every instruction set, shape, dtype and layout."""

from __future__ import annotations

import functools
import os
import subprocess
import sys

import numpy as np
import pytest

from ildfv.errors import InputError
from ildfv.kernels import Moments, cpu, reference
from ildfv.kernels import moments as dispatched

INSTRUCTION_SETS = [name for name in ("avx512", "avx2", "baseline") if cpu._native.instruction_set(name)]
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-11}  # relative to the largest sum of |γ t^p| of a component
SHAPES = [  # n, d, k
    (300, 64, 32), (169, 256, 32), (1, 4096, 32), (7, 1, 1), (33, 5, 3), (129, 65, 17), (1500, 10, 40), (257, 16, 256),
]  # fmt: skip


@pytest.fixture(params=INSTRUCTION_SETS)
def isa(request):
    cpu.set_instruction_set(request.param)
    yield request.param
    cpu.set_instruction_set(None)


@pytest.fixture
def threads():
    yield cpu.set_num_threads
    cpu.set_num_threads(None)


def mixture_of(k, d, *, seed=0, spread=0.7):
    """Weights, means and variances; a smaller spread overlaps more."""
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(k)), rng.normal(size=(k, d)) * spread, np.exp(0.3 * rng.normal(size=(k, d)))


def draw(b, n, mixture, *, seed=1, dtype=np.float32):
    """Maps (b, n, d) drawn from a mixture."""
    weights, means, variances = mixture
    rng = np.random.default_rng(seed)
    label = rng.choice(len(weights), size=(b, n), p=weights)
    return (means[label] + rng.normal(size=(b, n, means.shape[1])) * np.sqrt(variances[label])).astype(dtype)


def assert_close(got, expected, tolerance):
    """Errors of s0, s1, s2 relative to the largest entry of the component, plus the rounding of γ near 0."""
    n = expected.s0.sum(axis=-1, keepdims=True)
    assert (np.abs(got.s0 - expected.s0) <= tolerance * (expected.s0 + 1e-3 * n)).all()
    for g, e in ((got.s1, expected.s1), (got.s2, expected.s2)):
        size = expected.s0[..., None] + np.abs(e).max(axis=-1, keepdims=True) + 1e-3 * n[..., None]
        assert (np.abs(g - e) <= tolerance * size).all()
    np.testing.assert_allclose(got.log_likelihood, expected.log_likelihood, rtol=tolerance, atol=tolerance)


@functools.cache  # for all instruction sets
def problem(n, d, k, spread, dtype):
    """(mixture, maps, moments of the reference per map, pooled)."""
    mixture = mixture_of(k, d, spread=spread)
    x = draw(3, n, mixture, dtype=dtype)
    return mixture, x, [reference.moments(x, *mixture, pooled=pooled) for pooled in (False, True)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n", "d", "k"), SHAPES)
@pytest.mark.parametrize("spread", [0.7, 0.05], ids=["peaky", "soft"])
def test_moments_equal_the_reference(isa, n, d, k, spread, dtype):
    mixture, x, expected = problem(n, d, k, spread, dtype)
    for pooled in (False, True):
        assert_close(cpu.moments(x, *mixture, pooled=pooled), expected[pooled], TOLERANCE[dtype])


@pytest.mark.parametrize("k", [5, 12, 20, 28, 44, 49])
def test_products_over_any_number_of_components(isa, k):
    """AVX2 divides the components into groups of six and four, which are not aligned with vectors of eight."""
    mixture = mixture_of(k, 19, spread=0.05)
    x = draw(2, 50, mixture)
    assert_close(cpu.moments(x, *mixture), reference.moments(x, *mixture), TOLERANCE[np.float32])


@pytest.mark.parametrize("distance", [1.0, 0.4], ids=["few posteriors", "several posteriors"])
@pytest.mark.parametrize(("n", "d", "k"), [(700, 18, 32), (300, 64, 32), (300, 100, 33), (257, 256, 40)])
def test_moments_of_mixtures_without_informative_dimensions(isa, n, d, k, distance):
    """All dimensions are needed to exclude components. If they do not suffice, all scores are computed."""
    means = distance * np.random.default_rng(3).normal(size=(k, d))
    mixture = np.full(k, 1 / k), means, np.ones((k, d))
    x = draw(3, n, mixture)
    for threshold in (1e-6, 1e-12):
        expected = reference.moments(x, *mixture, threshold=threshold)
        assert_close(cpu.moments(x, *mixture, threshold=threshold), expected, TOLERANCE[np.float32])


def test_layouts_give_equal_bits(isa):
    mixture = mixture_of(9, 20)
    x = draw(3, 6 * 50, mixture)  # (b, n, d)
    rows = cpu.moments(x, *mixture)
    channel_first = np.ascontiguousarray(x.transpose(0, 2, 1)).reshape(3, 20, 6, 50)
    padded = np.full((3, 20, 6, 53), np.nan, np.float32)
    padded[..., :50] = channel_first
    strided = np.zeros((3, 300, 41), np.float32)
    strided[:, :, :40:2] = x
    for other in (channel_first, padded[..., :50], strided[:, :, :40:2], list(x), x[:, ::-1].copy()[:, ::-1]):
        for a, b in zip(rows, cpu.moments(other, *mixture), strict=True):
            np.testing.assert_array_equal(a, b)


def test_ragged_maps_give_the_moments_of_each_map(isa):
    mixture = mixture_of(5, 12)
    maps = [draw(1, n, mixture, seed=n)[0] for n in (1, 40, 3, 1025, 128, 2, 127, 4000)]
    assert_close(cpu.moments(maps, *mixture), reference.moments(maps, *mixture), 1e-5)
    assert_close(cpu.moments(maps, *mixture, pooled=True), reference.moments(maps, *mixture, pooled=True), 1e-5)


@pytest.mark.parametrize("pooled", [False, True])
def test_any_number_of_threads_gives_equal_bits(isa, threads, pooled):
    mixture = mixture_of(12, 33)
    maps = [draw(1, n, mixture, seed=n)[0] for n in (5000, 60, 1030, 1, 1, 900)]
    results = []
    for n in (1, 2, 3, 7):
        threads(n)
        results.append(cpu.moments(maps, *mixture, pooled=pooled))
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("dtype", ["float16", "uint8"])
def test_small_dtypes_give_the_moments_of_their_float32_values(isa, dtype):
    mixture = mixture_of(4, 7)
    x = (np.abs(draw(2, 150, mixture)) * 3).astype(dtype)
    for a, b in zip(cpu.moments(x, *mixture), cpu.moments(x.astype(np.float32), *mixture), strict=True):
        np.testing.assert_array_equal(a, b)


def test_float16_subnormals_and_extremes_are_exact(isa):
    mixture = np.ones(1), np.zeros((1, 1)), np.ones((1, 1))
    finite = np.arange(65536, dtype=np.uint16).view(np.float16)
    finite = np.abs(finite[np.isfinite(finite)])[:, None]
    for a, b in zip(cpu.moments([finite], *mixture), cpu.moments([finite.astype(np.float32)], *mixture), strict=True):
        np.testing.assert_array_equal(a, b)


def test_threshold_zero_counts_every_component(isa):
    mixture = mixture_of(6, 8, spread=1.5)
    x = draw(2, 200, mixture)
    assert_close(cpu.moments(x, *mixture, threshold=0), reference.moments(x, *mixture, threshold=0), 1e-5)
    none = cpu.moments(x, *mixture, threshold=0.9)
    assert none.s0.sum() < cpu.moments(x, *mixture).s0.sum()


class Parameters:
    def __init__(self, mixture):
        self.weights_, self.means_, self.variances_ = mixture


def test_torch_tensors_give_torch_tensors():
    torch = pytest.importorskip("torch")
    mixture = mixture_of(4, 9)
    x = draw(2, 48, mixture)
    expected = dispatched(x, Parameters(mixture))
    assert isinstance(expected, Moments)
    got = dispatched(torch.from_numpy(x), Parameters(tuple(torch.from_numpy(a) for a in mixture)))
    for a, b in zip(got, expected, strict=True):
        assert isinstance(a, torch.Tensor)
        np.testing.assert_array_equal(a.numpy(), b)
    brain = torch.from_numpy(x).bfloat16()
    for a, b in zip(
        dispatched(brain, Parameters(mixture)), dispatched(brain.float(), Parameters(mixture)), strict=True
    ):
        assert torch.equal(a, b)


def bad(x, index, value=np.nan):
    x = x.copy()
    x[index] = value
    return x


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (lambda x: bad(x, (1, 3, 4)), "maps must be finite, got NaN or infinity in map 1"),
        (
            lambda x: bad(bad(x, (3, 3, 4), np.inf), (2, 39, 0), -np.inf),
            "maps must be finite, got NaN or infinity in map 2",
        ),
        (lambda x: x[:0], "maps must contain at least one map, got an empty batch"),
        (lambda x: [], "maps must contain at least one map, got an empty batch"),
        (lambda x: [x[0], x[1, :0]], "each map must contain at least one descriptor, got none in map 1"),
        (
            lambda x: x[0],
            r"maps must have shape \(b, n, d\) or \(b, d, h, w\), or be a list of \(n, d\), got \(40, 6\)",
        ),
        (lambda x: list(x[..., None]), r"maps must be a list of \(n, d\), got shape \(40, 6, 1\) for map 0"),
        (lambda x: [x[0], x[1, :, :5]], "maps must have the same number of dimensions, got 6 in map 0 and 5 in map 1"),
        (lambda x: x[..., :5], "descriptors must have 6 dimensions like the mixture, got 5"),
        (lambda x: x.astype(np.int32), "maps must be float32, float64, float16, bfloat16, uint8, got int32"),
        (lambda x: [x[0], x[1].astype(np.float64)], "maps must have one dtype, got float32, float64"),
    ],
)
def test_invalid_maps_are_refused(maps, message):
    mixture = mixture_of(3, 6)
    with pytest.raises(InputError, match=message):
        cpu.moments(maps(draw(4, 40, mixture)), *mixture)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(weights=np.ones((3, 1))), r"weights must have shape \(k,\), got \(3, 1\)"),
        (dict(means=np.ones((2, 6))), r"means must have shape \(3, d\), with a row .* 3 weights, got \(2, 6\)"),
        (dict(variances=np.ones((3, 5))), r"variances must have shape \(3, 6\), got \(3, 5\)"),
        (dict(variances=np.eye(3, 6)), "variances must be > 0, got 0 for component 0, dimension 1"),
        (dict(weights=np.array([1, -1, 1.0])), "weights must be ≥ 0, got a minimum of -1"),
        (dict(means=np.full((3, 6), np.nan)), "means must be finite, got NaN or infinity"),
        (dict(threshold=1.0), r"threshold must be in \[0, 1\), got 1.0"),
    ],
)
def test_invalid_mixtures_are_refused(change, message):
    mixture = mixture_of(3, 6)
    arguments = dict(zip(("weights", "means", "variances"), mixture, strict=True)) | change
    with pytest.raises(InputError, match=message):
        cpu.moments(draw(1, 4, mixture), **arguments)


def test_a_map_with_far_values_does_not_change_other_maps(isa):
    rng = np.random.default_rng(7)
    mixture = np.full(4, 0.25), 0.1 * rng.normal(size=(4, 64)), np.ones((4, 64))
    near = rng.normal(size=(64, 1, 64)).astype(np.float32)
    far = near.copy()
    far[5] += 50  # computed in double
    one, other = cpu.moments(near, *mixture), cpu.moments(far, *mixture)
    assert not np.array_equal(one.s1[5], other.s1[5])
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(np.delete(a, 5, axis=0), np.delete(b, 5, axis=0))
    far[7, 0, 3] = np.nan
    with pytest.raises(InputError, match="in map 7"):
        cpu.moments(far, *mixture)


def test_an_unknown_instruction_set_in_the_environment_is_an_error():
    code = "import numpy as np; from ildfv.kernels import cpu; cpu.moments(np.ones((1, 3, 2)), [1], [[0, 0]], [[1, 1]])"
    ended = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"ILDFV_ISA": "AVX2"}, capture_output=True, text=True
    )
    assert ended.returncode == 1
    assert 'InputError: instruction set must be one that this machine supports, got "AVX2"' in ended.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_can_compute_after_its_parent_used_threads():
    """Workers of a torch DataLoader are such children; the threads of OpenMP do not exist in them."""
    code = """
import multiprocessing, numpy as np
from ildfv.kernels import cpu
def run(_):
    return cpu.moments(np.ones((8, 300, 2), np.float32), [1], [[0, 0]], [[1, 1]]).s0.sum()
if __name__ == "__main__":
    cpu.set_num_threads(2)
    run(0)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        print(pool.map(run, [0])[0])
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert ended.stdout.strip() == "2400.0"


def test_flushed_subnormal_numbers_do_not_change_the_bits(isa):
    """torch.set_flush_denormal makes comparisons with subnormal numbers comparisons with 0."""
    torch = pytest.importorskip("torch")
    means = np.random.default_rng(3).normal(size=(32, 64))
    mixture = np.full(32, 1 / 32), means, np.ones((32, 64))
    x = draw(2, 300, mixture)
    expected = cpu.moments(x, *mixture)
    assert torch.set_flush_denormal(True)
    try:
        found = cpu.moments(x, *mixture)
    finally:
        torch.set_flush_denormal(False)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
