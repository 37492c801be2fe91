"""Fisher vectors that the CPU kernel writes into the result, compared with the float64 reference."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest

from ildfv.errors import InputError
from ildfv.kernels import cpu, reference

OPTIONS = [
    {"improved": improved, "order": order, "weight_part": part}
    for improved, order, part in itertools.product((True, False), ("component", "moment"), (False, True))
]


def problem(b: int = 5, n: int = 40, d: int = 19, k: int = 10):
    """Maps (b, n, d) and a mixture with a component that is too light to be used."""
    random = np.random.default_rng(0)
    weights = np.r_[random.dirichlet(np.ones(k - 1)) * (1 - 1e-7), 1e-7]
    mixture = weights, random.normal(size=(k, d)), np.exp(random.normal(size=(k, d)))
    return random.normal(size=(b, n, d)), mixture


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-5), (np.float64, 1e-12)])
def test_vectors_equal_the_reference(options, dtype, tolerance):
    maps, mixture = problem()
    maps = maps.astype(dtype)
    found, likelihoods = cpu.fisher_vectors(maps, *mixture, **options)
    m = reference.moments(maps, *mixture)
    expected = reference.vectors(m, np.full(len(maps), maps.shape[1]), mixture[0], **options)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())
    np.testing.assert_allclose(likelihoods, m.log_likelihood, rtol=max(tolerance, 1e-6))


def test_moments_are_those_of_the_moments_kernel():
    maps, mixture = problem()
    found, _ = cpu.fisher_vectors(maps, *mixture, improved=False, order="moment")
    m = cpu.moments(maps, *mixture)
    u = m.s1 / (maps.shape[1] * np.sqrt(mixture[0]))[:, None]
    heavy = mixture[0] >= reference.MIN_WEIGHT
    np.testing.assert_allclose(found[:, : u[0].size].reshape(u.shape)[:, heavy], u[:, heavy], rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_vectors_do_not_depend_on_threads_and_neighbours(dtype):
    maps, mixture = problem(b=9)
    maps = maps.astype(dtype)
    expected, _ = cpu.fisher_vectors(maps, *mixture)
    try:
        cpu.set_num_threads(3)
        found, _ = cpu.fisher_vectors(maps, *mixture)
    finally:
        cpu.set_num_threads(None)
    alone = np.concatenate([cpu.fisher_vectors([one], *mixture)[0] for one in maps])
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(alone, expected)


def test_vectors_do_not_depend_on_the_instruction_set_of_the_normalisation():
    """Equal moments give equal bits, because only the moments are computed with different instruction sets."""
    maps, mixture = problem(n=1)
    raw, _ = cpu.fisher_vectors(maps, *mixture, improved=False)
    improved, _ = cpu.fisher_vectors(maps, *mixture)
    roots = np.copysign(np.sqrt(np.abs(raw)), raw)
    np.testing.assert_allclose(improved, roots / np.linalg.norm(roots, axis=1, keepdims=True), rtol=1e-14)


@pytest.mark.parametrize("options", OPTIONS)
def test_descriptors_of_weight_0_are_ignored(options):
    maps, mixture = problem()
    weights = np.random.default_rng(1).random(maps.shape[:2])
    weights[0] = 0
    weights[1, ::3] = 0
    found, likelihoods = cpu.fisher_vectors(maps, *mixture, descriptor_weights=weights, **options)
    kept = [one[w > 0] for one, w in zip(maps[1:], weights[1:], strict=True)]
    left = [w[w > 0] for w in weights[1:]]
    expected, _ = cpu.fisher_vectors(kept, *mixture, descriptor_weights=left, **options)
    np.testing.assert_array_equal(found[1:], expected)
    assert not found[0].any()
    assert likelihoods[0] == 0


def test_no_map_has_a_positive_weight():
    maps, mixture = problem()
    found, _ = cpu.fisher_vectors(maps, *mixture, descriptor_weights=np.zeros(maps.shape[:2]))
    np.testing.assert_array_equal(found, np.zeros((5, 2 * 10 * 19)))


def test_the_error_names_the_map_that_is_not_finite():
    maps, mixture = problem()
    maps[3, 5, 2] = np.nan
    with pytest.raises(InputError, match="maps must be finite, got NaN or infinity in map 3"):
        cpu.fisher_vectors(maps, *mixture)


def test_little_memory_is_needed_besides_the_result():
    """Three arrays of the size of the result were needed when the moments were scaled in NumPy."""
    maps, mixture = problem(b=200, n=20, d=64, k=16)
    cpu.fisher_vectors(maps[:1], *mixture)
    tracemalloc.start()
    try:
        found, _ = cpu.fisher_vectors(maps, *mixture)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.05 * found.nbytes
