"""Properties for arbitrary data: order, halves, scale, threads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ildfv.kernels import cpu, moments, reference


@st.composite
def problems(draw):
    """Maps (1, n, d) and a mixture, peaky or soft."""
    n, d, k = draw(st.integers(1, 400)), draw(st.integers(1, 70)), draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    means = draw(st.sampled_from([0.01, 0.3, 1.0, 5.0])) * rng.normal(size=(k, d))
    variances = np.exp(draw(st.sampled_from([0.0, 0.5, 1.5])) * rng.normal(size=(k, d)))
    label = rng.integers(0, k, size=n)
    x = (means[label] + rng.normal(size=(n, d)) * np.sqrt(variances[label])).astype(np.float32)
    return x[None], (rng.dirichlet(np.full(k, 5.0)), means, variances)


def assert_same(a, b, tolerance=2e-5):
    """Sums that differ by rounding only."""
    n = max(float(np.sum(b.s0)), 1.0)
    for x, y in zip(a[:3], b[:3], strict=True):
        assert np.abs(np.asarray(x) - y).max() <= tolerance * (np.abs(y).max() + 1e-2 * n)
    np.testing.assert_allclose(a.log_likelihood, b.log_likelihood, rtol=tolerance, atol=tolerance * n)


@given(problems())
@settings(max_examples=60, deadline=None)
def test_moments_equal_the_reference(problem):
    x, mixture = problem
    assert_same(cpu.moments(x, *mixture), reference.moments(x, *mixture))


@given(problems(), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_order_of_descriptors_does_not_matter(problem, random):
    x, mixture = problem
    order = list(range(x.shape[1]))
    random.shuffle(order)
    assert_same(cpu.moments(x[:, order], *mixture), cpu.moments(x, *mixture))


@given(problems(), st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_two_halves_add_up_to_the_whole(problem, share):
    x, mixture = problem
    cut = int(share * x.shape[1])
    halves = [half for half in (x[0, :cut], x[0, cut:]) if len(half)]
    assert_same(cpu.moments(halves, *mixture, pooled=True), cpu.moments(x, *mixture, pooled=True))


@given(problems(), st.integers(-8, 8), st.integers(-64, 64))
@settings(max_examples=40, deadline=None)
def test_scaling_and_shifting_changes_the_likelihood_only(problem, exponent, shift):
    x, (weights, means, variances) = problem
    scale, (_, n, d) = 2.0**exponent, x.shape
    y = x * np.float32(scale)
    y = (y + np.float32(shift)).astype(np.float64)  # adding the shift rounds y, so the rounded values are compared
    back = (y - shift) / scale
    moved = cpu.moments(y, weights, means * scale + shift, variances * scale**2)
    stayed = cpu.moments(back, weights, means, variances)
    assert_same(moved._replace(log_likelihood=moved.log_likelihood + n * d * np.log(scale)), stayed, 1e-7)


@given(problems(), st.integers(2, 9))
@settings(max_examples=25, deadline=None)
def test_a_descriptor_repeated_m_times_counts_m_times(problem, m):
    x, mixture = problem
    once = cpu.moments(x.astype(np.float64), *mixture)
    assert_same(
        cpu.moments(np.repeat(x, m, axis=1).astype(np.float64), *mixture), type(once)(*(m * a for a in once)), 1e-9
    )


@given(problems(), st.integers(2, 6))
@settings(max_examples=25, deadline=None)
def test_threads_and_other_maps_do_not_change_a_bit(problem, threads):
    x, mixture = problem
    try:
        cpu.set_num_threads(1)
        alone = cpu.moments(x, *mixture)
        cpu.set_num_threads(threads)
        crowd = cpu.moments([x[0][:1], *(x[0] for _ in range(5))], *mixture)
    finally:
        cpu.set_num_threads(None)
    for one, many in zip(alone, crowd, strict=True):
        for i in range(2, 6):
            np.testing.assert_array_equal(many[1], many[i])
        np.testing.assert_allclose(many[1], one[0], rtol=2e-5, atol=2e-5 * np.abs(one).max())


def test_sums_equal_those_of_scikit_image():
    """The layout of scikit-image is [k weights | means | minus variances], per descriptor."""
    rng = np.random.default_rng(0)
    feature = pytest.importorskip("skimage.feature")
    sklearn = pytest.importorskip("sklearn.mixture")
    weights, means, variances = rng.dirichlet(np.ones(5)), rng.normal(size=(5, 8)), np.exp(rng.normal(size=(5, 8)))
    gmm = sklearn.GaussianMixture(5, covariance_type="diag")
    gmm.weights_, gmm.means_, gmm.covariances_ = weights, means, variances
    gmm.precisions_cholesky_ = 1 / np.sqrt(variances)
    x = rng.normal(size=(1, 300, 8))

    class Mixture:
        weights_, means_, variances_ = weights, means, variances

    s0, s1, s2, _ = (a[0] for a in moments(x, Mixture, threshold=0))
    theirs = feature.fisher_vector(x[0], gmm)
    u = s1 / (300 * np.sqrt(weights)[:, None])
    v = (s2 - s0[:, None]) / (300 * np.sqrt(2 * weights)[:, None])
    np.testing.assert_allclose(theirs[5:45].reshape(5, 8), u, atol=1e-6)
    np.testing.assert_allclose(theirs[45:].reshape(5, 8), -v, atol=1e-6)


def test_sums_equal_those_of_vlfeat():
    """The layout of VLFeat is [u_1 … u_k, v_1 … v_k], float32."""
    fisher = pytest.importorskip("cyvlfeat.fisher").fisher
    rng = np.random.default_rng(1)
    mixture = tuple(
        a.astype(np.float32)
        for a in (rng.dirichlet(np.full(6, 9.0)), rng.normal(size=(6, 10)), np.exp(rng.normal(size=(6, 10))))
    )
    x = rng.normal(size=(1, 400, 10)).astype(np.float32)
    weights = mixture[0][:, None]
    s0, s1, s2, _ = (a[0] for a in cpu.moments(x, *mixture))
    theirs = fisher(x[0], mixture[1], mixture[2], mixture[0]).reshape(2, 6, 10)
    np.testing.assert_allclose(theirs[0], s1 / (400 * np.sqrt(weights)), atol=1e-5)
    np.testing.assert_allclose(theirs[1], (s2 - s0[:, None]) / (400 * np.sqrt(2 * weights)), atol=1e-5)
