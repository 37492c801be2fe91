"""Hard data on the CPU: offsets, variances 12 orders of magnitude apart, far descriptors, duplicates, extreme shapes.

Bounds on the errors of s0, s1 and s2 of a component, relative to Σ γ (1 + |t|^p) in float64:
- 1e-5 in general;
- 4e-5 if a mean is 500 sd from the centre, the largest distance that is computed in float;
- for a map with a single descriptor between two components: 2e-5 at d = 64, 5e-5 at d = 256, 2e-4 at d = 4096;
- 2.5e-4 for maps with few, equal or far descriptors, whose errors do not cancel either.
"""

from __future__ import annotations

import numpy as np
import pytest

from ildfv.kernels import cpu, reference

INSTRUCTION_SETS = [name for name in ("avx512", "avx2", "baseline") if cpu._native.instruction_set(name)]
BOUND = 1e-5


@pytest.fixture(params=INSTRUCTION_SETS)
def isa(request):
    cpu.set_instruction_set(request.param)
    yield request.param
    cpu.set_instruction_set(None)


def errors(x, weights, means, variances, *, threshold=1e-6):
    """Largest errors of s0, s1, s2, relative to Σ γ (1 + |t|^p), and of the log likelihood."""
    got = cpu.moments(x, weights, means, variances, threshold=threshold)
    expected = reference.moments(x, weights, means, variances, threshold=threshold)
    worst = [0.0, 0.0, 0.0]
    for i, rows in enumerate(np.asarray(x, dtype=np.float64)):
        gamma, _ = reference.posteriors(rows, weights, means, variances)
        t = np.abs(rows[:, None] - means) / np.sqrt(variances)
        floor = 1e-3 * len(rows)  # avoids a division by about 0 for components with almost no descriptors
        sizes = [gamma.sum(0) + floor]
        sizes += [np.einsum("nk,nkd->kd", gamma, 1 + t**p) + floor for p in (1, 2)]
        for j, size in enumerate(sizes):
            worst[j] = max(worst[j], float((np.abs(got[j][i] - expected[j][i]) / size).max()))
    likelihood = np.abs(got.log_likelihood - expected.log_likelihood) / (1 + np.abs(expected.log_likelihood))
    return [*worst, float(likelihood.max())]


def assert_bound(*data, **options):
    found = errors(*data, **options)
    assert all(e <= BOUND for e in found), found


def drawn(n, k, d, *, seed=0, spread=0.7, variances=None, b=2):
    rng = np.random.default_rng(seed)
    means = spread * rng.normal(size=(k, d))
    variances = np.exp(0.3 * rng.normal(size=(k, d))) if variances is None else variances
    means = means * np.sqrt(variances)
    label = rng.integers(0, k, size=(b, n))
    x = means[label] + rng.normal(size=(b, n, d)) * np.sqrt(variances[label])
    return x, np.full(k, 1 / k), means, variances


@pytest.mark.parametrize("spread", [3.0, 0.7, 0.05])
def test_an_offset_of_ten_thousand_sd_does_not_reduce_accuracy(isa, spread):
    x, weights, means, variances = drawn(400, 12, 20, spread=spread)
    assert_bound((x + 1e4).astype(np.float32), weights, means + 1e4, variances)


def test_variances_over_twelve_orders_of_magnitude_keep_the_bound(isa):
    rng = np.random.default_rng(3)
    variances = 10.0 ** rng.uniform(-6, 6, size=(8, 17))
    x, weights, means, variances = drawn(300, 8, 17, variances=variances)
    assert_bound(x.astype(np.float32), weights, means, variances)


def test_one_narrow_component_in_a_wide_one_keeps_the_bound(isa):
    rng = np.random.default_rng(3)
    means = np.stack([np.zeros(10), np.full(10, 0.5)])
    variances = np.stack([np.ones(10), np.full(10, 1e-6)])  # 500 sd from the centre: the limit for float
    x = np.concatenate([rng.normal(size=(1, 200, 10)), means[1] + 1e-3 * rng.normal(size=(1, 200, 10))], axis=1)
    assert max(errors(x.astype(np.float32), np.full(2, 0.5), means, variances)) <= 4e-5  # t has an error of 500 · 6e-8


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [0.0, 1.0, 50.0, 1e4])  # sd; if a mean is beyond 4, rows are copied and centred
@pytest.mark.parametrize("spread", [0.0, 0.1])  # of the logarithms of the variances
def test_neighbours_among_far_components_of_similar_variances_keep_the_bound(isa, spread, offset, dtype):
    """Bounds that are linear in the descriptor exclude the far components, and must keep the neighbours of the best."""
    rng = np.random.default_rng(7)
    k, d = 40, 128
    group = rng.permutation(k) // 4
    means = rng.uniform(-1.2, 1.2, size=(k // 4, d))[group]
    means += np.linspace(0.1, 0.5, k)[:, None] * rng.uniform(-1, 1, size=(k, d))  # neighbours: 0.5 to 10 nats apart
    variances = np.exp(spread * rng.normal(size=(k // 4, d)))[group]
    label = rng.integers(0, k, size=(2, 300))
    x = means[label] + rng.normal(size=(2, 300, d)) * np.sqrt(variances[label])
    x[0, :20] *= 5
    x, means = (x + offset).astype(dtype), means + offset
    assert_bound(x, rng.dirichlet(np.ones(k)), means, variances)


@pytest.mark.parametrize("distance", [30, 1e3, 1e6, 1e15])
def test_far_descriptors_keep_the_bound(isa, distance):
    x, weights, means, variances = drawn(200, 9, 12)
    x[:, ::7] *= distance
    assert_bound(x.astype(np.float32), weights, means, variances)


def test_squares_beyond_float32_are_pooled_in_double(isa):
    x, *mixture = drawn(200, 9, 12)
    x[:, ::7] *= 1e30
    x = x.astype(np.float32)
    got, expected = cpu.moments(x, *mixture, pooled=True), reference.moments(x, *mixture, pooled=True)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=BOUND, atol=BOUND * np.abs(b).max())


def test_far_descriptors_between_two_components_keep_the_bound(isa):
    means = np.array([[-1.0, 0.0], [1.0, 0.0]])
    x = np.stack([np.linspace(-1e-4, 1e-4, 50), np.full(50, 1e4)], axis=1)[None].astype(np.float32)
    assert_bound(x, np.full(2, 0.5), means, np.ones((2, 2)))
    assert cpu.moments(x, np.full(2, 0.5), means, np.ones((2, 2))).s0.min() > 1  # both have a share of the mass


def test_duplicates_keep_the_bound(isa):
    x, weights, means, variances = drawn(3, 9, 12)
    assert_bound(np.repeat(x, 150, axis=1).astype(np.float32), weights, means, variances)


@pytest.mark.parametrize("d", [16, 20])  # rows of 16 values are used in place, of 20 copied
@pytest.mark.parametrize("first", ["few matter", "all matter"])
def test_alternation_of_few_and_many_relevant_components_keeps_the_bound(isa, d, first):
    rng = np.random.default_rng(7)
    k = 24
    means = 0.05 * rng.normal(size=(k, d))  # half of the components overlap …
    means[k // 2 :] += 3.5 * rng.choice([-1, 1], size=(k // 2, d))  # … half are separate, at most 4 sd from 0
    labels = np.concatenate([rng.integers(k // 2, k, size=1300), rng.integers(0, k // 2, size=700)])
    x = means[labels] + rng.normal(size=(2000, d))
    x = x[None] if first == "few matter" else x[None, ::-1]
    assert abs(means).max() < 4
    assert_bound(np.ascontiguousarray(x, dtype=np.float32), np.full(k, 1 / k), means, np.ones((k, d)))


@pytest.mark.parametrize(
    ("n", "k", "d"), [(1, 1, 1), (1, 32, 64), (1000, 1, 64), (500, 33, 1), (40, 5, 4096), (1, 17, 4097)]
)
@pytest.mark.parametrize("spread", [2.0, 0.02])
def test_extreme_shapes_keep_the_bound(isa, n, k, d, spread):
    x, *mixture = drawn(n, k, d, spread=spread)
    assert_bound(x.astype(np.float32), *mixture)


def test_a_component_of_weight_zero_has_no_mass(isa):
    x, weights, means, variances = drawn(100, 4, 6)
    weights = np.array([0.5, 0.0, 0.25, 0.25])
    with np.errstate(divide="ignore"):
        assert_bound(x.astype(np.float32), weights, means, variances)
    assert cpu.moments(x.astype(np.float32), weights, means, variances).s0[:, 1].max() == 0


def test_more_components_than_descriptors_keep_the_bound(isa):
    x, *mixture = drawn(5, 300, 8)
    assert_bound(x.astype(np.float32), *mixture)


def test_zero_threshold_with_far_components_keeps_the_bound(isa):
    x, *mixture = drawn(100, 6, 30, spread=4.0)
    assert_bound(x.astype(np.float32), *mixture, threshold=0.0)


def views(x):
    """The same maps (b, n, d) in layouts that two strides can describe, and in some that they cannot."""
    b, n, d = x.shape
    wide = np.zeros((2 * b, 2 * n, 2 * d), x.dtype)
    wide[::2, ::2, ::2] = x
    channel_first = np.ascontiguousarray(x.transpose(0, 2, 1)).reshape(b, d, 2, n // 2)
    turned = np.ascontiguousarray(channel_first[:, :, ::-1, ::-1])
    bytes_ = np.frombuffer(b"x" + x.tobytes(), np.uint8)[1:]  # at odd addresses
    yield from (wide[::2, ::2, ::2], x[:, ::-1, ::-1].copy()[:, ::-1, ::-1], x[::-1].copy()[::-1], np.asfortranarray(x))
    yield from (
        channel_first,
        turned[:, :, ::-1, ::-1],
        channel_first.transpose(0, 1, 3, 2).copy().transpose(0, 1, 3, 2),
    )
    yield from (bytes_.view(x.dtype).reshape(x.shape), list(x), tuple(x))
    if x.dtype.itemsize > 1:
        yield x.astype(x.dtype.newbyteorder(">"))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "uint8"])
@pytest.mark.parametrize(("n", "d", "k"), [(50, 1, 7), (6, 4096, 3), (52, 33, 17)])
def test_layouts_of_all_element_types_give_equal_bits(isa, dtype, n, d, k):
    x, *mixture = drawn(n, k, d)
    x = np.abs(10 * x).astype(dtype) if dtype == "uint8" else x.astype(dtype)
    expected = cpu.moments(x, *mixture)
    for view in views(x):
        for a, b in zip(cpu.moments(view, *mixture), expected, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("threshold", [0.0, 1e-6, 0.5, 0.999])
def test_thresholds_from_0_to_nearly_1_equal_the_reference(isa, threshold):
    x, *mixture = drawn(300, 5, 9, spread=3.0)
    got = cpu.moments(x, *mixture, threshold=threshold)
    expected = reference.moments(x, *mixture, threshold=threshold)
    np.testing.assert_allclose(got.s0, expected.s0, atol=1e-9)
    np.testing.assert_allclose(got.log_likelihood, expected.log_likelihood, rtol=1e-12)
    alone = cpu.moments(x, np.ones(1), np.zeros((1, 9)), np.ones((1, 9)), threshold=np.nextafter(1, 0))
    np.testing.assert_array_equal(alone.s0, [[300.0], [300.0]])  # the only component has a posterior of 1


def test_units_of_float32_descriptors_do_not_matter(isa):
    for exponent in (-25, -19, 0, 15, 19, 30):
        x, weights, means, variances = drawn(200, 12, 20, spread=0.05)
        scale = 10.0**exponent
        assert_bound((x * scale).astype(np.float32), weights, means * scale, variances * scale**2)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([0.5, 0.6], "weights must add up to 1, got 1.1"),
        ([0.5, 0.5j], "weights must contain real numbers, got dtype complex128"),
        (["a", "b"], "weights must contain real numbers, got dtype str"),
    ],
)
def test_invalid_weights_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        cpu.moments(np.zeros((1, 3, 2), np.float32), weights, np.zeros((2, 2)), np.ones((2, 2)))


@pytest.mark.parametrize("n", [1, 50])
def test_descriptors_close_to_all_means_do_not_reduce_accuracy(isa, n):
    """Their scores are large, like those of far descriptors, and components compete."""
    rng = np.random.default_rng(1)
    means = 0.156 * rng.normal(size=(4, 4096))
    x = (means.mean(0) + 0.01 * rng.normal(size=(20, n, 4096))).astype(np.float32)
    scores = -0.5 * ((x[0, 0] - means) ** 2).sum(1)
    weights = np.exp(scores.max() - scores)
    assert_bound(x, weights / weights.sum(), means, np.ones((4, 4096)))


@pytest.mark.slow
@pytest.mark.parametrize(("d", "bound"), [(64, 2e-5), (256, 5e-5), (4096, 2e-4)])
def test_the_error_of_a_single_descriptor_is_that_of_its_score(isa, d, bound):
    """Errors of many descriptors cancel, that of one does not: the error of a float32 score is about 1e-6 √d nats."""
    rng = np.random.default_rng(0)
    means = rng.normal(size=(32, d)) / np.sqrt(2 * d)
    x = (means[rng.integers(32, size=300)] + rng.normal(size=(300, d))).astype(np.float32)
    found = errors(x[:, None], np.full(32, 1 / 32), means, np.ones((32, d)))
    assert max(found) <= bound, found
    found = errors(x[None], np.full(32, 1 / 32), means, np.ones((32, d)))
    assert max(found) <= BOUND, found


@pytest.mark.parametrize("k", [6, 12, 17, 30, 33, 66])
@pytest.mark.parametrize(("dtype", "far"), [("float32", 1e20), ("float32", 1e38), ("float64", 1e160)])
def test_scores_that_overflow_are_minus_infinity(isa, k, dtype, far):
    x = np.full((40, 3, 20), far, dtype)
    x[::2, 1] = 0.5  # next to a descriptor with ordinary values
    means = np.random.default_rng(0).normal(size=(k, 20))
    got = cpu.moments(x, np.full(k, 1 / k), means, np.ones((k, 20)))
    assert (got.log_likelihood == -np.inf).all()
    if dtype == "float32":
        np.testing.assert_allclose(got.s0.sum(axis=1), 3, rtol=1e-5)


@pytest.mark.parametrize("k", [32, 1024, 4096])
def test_many_components_far_below_the_best_count_together(isa, k):
    """One narrow component, and all others just below the limit for individual evaluation."""
    d, below = 8, 17.3
    means = np.zeros((k, d))
    means[1:, 0] = np.sqrt(2 * below)
    x = np.zeros((1, 100, d), np.float32)
    found = errors(x, np.full(k, 1 / k), means, np.ones((k, d)))
    assert max(found) <= (4 * BOUND if k == 4096 else BOUND), found  # in float32, adding 3e-8 to 1 loses digits


@pytest.mark.parametrize("n", [5, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["equal", "far and few", "far and equal"])
def test_errors_of_equal_or_far_descriptors_do_not_cancel(isa, kind, n):
    """Scores are rounded by 6e-8 of their size, 1000 at most in float32 where components compete: 2.5e-4 in all."""
    rng = np.random.default_rng(1)
    d = 64 if "far" in kind else 1024
    means = rng.normal(size=(32, d)) / np.sqrt(2 * d)
    x = means[rng.integers(32, size=40)][:, None] + rng.normal(size=(40, 1 if "equal" in kind else n, d))
    if "far" in kind:
        direction = rng.normal(size=(40, 1, d))
        x = 0.3 * x + direction / np.linalg.norm(direction, axis=2, keepdims=True) * np.sqrt(2 * 900)
    x = np.broadcast_to(x, (40, n, d)).astype(np.float32)
    found = errors(x, np.full(32, 1 / 32), means, np.ones((32, d)), threshold=0.0)
    assert max(found) <= 2.5e-4, found
    # s1 and s2 are not compared, because posteriors near the threshold of 1e-6 may count or not.
    s0, *_, likelihood = errors(x, np.full(32, 1 / 32), means, np.ones((32, d)))
    assert max(s0, likelihood) <= 2.5e-4
