"""Contributions of descriptors on a GPU, with the emulated kernels, against the reference."""

import inspect

import numpy as np
import pytest
from emulation import EmulatedDevice, EmulatedTorchDevice, OnDevice
from problems import bfloat16_bits, channel_first, descriptors, from_bits, mixture

from ildfv.errors import InputError
from ildfv.kernels import cpu, reference
from ildfv.kernels.cuda import contributions, launches, moments
from ildfv.kernels.tables import BFLOAT16


def functionals(rng, c, k, d, b=None):
    """Coefficients (C, k, d), or (b, C, k, d), of t and of t² − 1."""
    shape = (c, k, d) if b is None else (b, c, k, d)
    return rng.normal(size=shape), rng.normal(size=shape)


def computed(device, maps, parameters, first, second, weights=None, threshold=1e-6):
    on_device = [a.view(OnDevice) for a in maps] if isinstance(maps, list) else maps.view(OnDevice)
    options = {"threshold": threshold, "descriptor_weights": weights}
    return [np.asarray(a) for a in contributions.compute(device, on_device, *parameters, first, second, **options)]


def agree(device, maps, parameters, first, second, weights=None, *, like=None, tolerance=2e-5, threshold=1e-6):
    found = computed(device, maps, parameters, first, second, weights, threshold)
    like = maps if like is None else like
    options = {"threshold": threshold, "descriptor_weights": weights}
    expected = reference.contributions(like, *parameters, first, second, **options)
    assert [a.shape for a in found] == [e.shape for e in expected]
    for a, e in zip(found, expected, strict=True):
        assert a.dtype == np.float64
        assert np.linalg.norm(a - e) <= tolerance * np.linalg.norm(e)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n", "d", "k"), [(1, 3, 5), (63, 64, 32), (65, 70, 33), (600, 6, 4), (130, 130, 70)])
@pytest.mark.parametrize("spread", [0.2, 3.0], ids=["soft", "peaky"])
def test_any_shape_agrees(device, rng, n, d, k, spread, dtype):
    parameters = mixture(rng, k, d, spread=spread)
    x, tolerance = descriptors(rng, parameters, 2, n, dtype), 2e-5 if dtype == np.float32 else 1e-12
    for c, b in ((4, 2), (7, None), (1, None)):
        agree(device, x, parameters, *functionals(rng, c, k, d, b), tolerance=tolerance)
    assert set(device.launched) == {f"contributions_wide_{np.dtype(dtype).name}"}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_posteriors_in_device_memory_give_the_same_bits(library, rng, monkeypatch, dtype):
    parameters, given = mixture(rng, 100, 5, spread=0.5), functionals(rng, 3, 100, 5)
    x = descriptors(rng, parameters, 2, 70, dtype)
    shared = computed(EmulatedDevice(library), x, parameters, *given)
    monkeypatch.setattr(launches, "ROUND_BYTES", 1)  # one launch for each piece
    small = EmulatedDevice(library, 60 << 10)
    assert all(map(np.array_equal, shared, computed(small, x, parameters, *given)))
    assert small.launched == [f"contributions_huge_{np.dtype(dtype).name}"] * 2


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("spread", [0.2, 3.0], ids=["soft", "peaky"])
def test_contributions_add_up_to_the_functional_of_the_moments(device, rng, spread, weighted):
    k, d, b, n = 9, 12, 3, 700
    parameters = mixture(rng, k, d, spread=spread)
    x = descriptors(rng, parameters, b, n, np.float64)
    weights = np.where(rng.random((b, n)) < 0.4, 0.0, rng.random((b, n))) if weighted else None
    first, second = functionals(rng, 4, k, d, b)
    m = moments.compute(device, x.view(OnDevice), *parameters, threshold=1e-6, pooled=False, descriptor_weights=weights)
    s0, s1, s2 = (np.asarray(a) for a in m[:3])
    expected = np.einsum("bckd,bkd->bc", first, s1) + np.einsum("bckd,bkd->bc", second, s2 - s0[..., None])
    found = computed(device, x, parameters, first, second, weights)
    np.testing.assert_allclose([a.sum(axis=0) for a in found], expected, rtol=1e-9, atol=1e-8)


def test_descriptors_of_weight_zero_contribute_zero_and_may_have_any_values(device, rng):
    parameters = mixture(rng, 5, 8)
    x = descriptors(rng, parameters, 3, 80)
    weights = np.where(rng.random((3, 80)) < 0.4, 0.0, rng.random((3, 80)))
    weights[1] = 0
    given = functionals(rng, 2, 5, 8, 3)
    plain = agree(device, x, parameters, *given, weights)
    x[weights == 0] = np.nan
    assert all(map(np.array_equal, plain, computed(device, x, parameters, *given, weights)))
    assert not any(a[w == 0].any() for a, w in zip(plain, weights, strict=True))


def test_all_layouts_element_types_and_thresholds_agree(device, rng):
    parameters, given = mixture(rng, 5, 8), functionals(rng, 2, 5, 8)
    x = descriptors(rng, parameters, 3, 600)
    plain = agree(device, x, parameters, *given)
    assert all(map(np.array_equal, plain, agree(device, channel_first(x, 30), parameters, *given, like=x)))
    agree(device, x[:, ::2], parameters, *given)
    agree(
        device,
        [x[0], x[1, :7], x[2, :1]],
        parameters,
        *given,
        [np.full(len(a), 0.5) for a in (x[0], x[1, :7], x[2, :1])],
    )
    agree(device, x, parameters, *given, threshold=0.3)
    agree(device, x, parameters, *given, threshold=0.0)
    bits = bfloat16_bits(x)
    agree(device, bits.view(BFLOAT16), parameters, *given, like=from_bits(bits))
    agree(device, x.astype(np.float16), parameters, *given)


def test_non_finite_values_are_located_and_far_values_are_computed_in_double(device, rng):
    parameters, given = mixture(rng, 2, 3), functionals(rng, 2, 2, 3)
    x = descriptors(rng, parameters, 3, 70)
    x[1, 3] = 1e20
    agree(device, x, parameters, *given)
    assert device.launched[1:] == ["contributions_wide_float64"]
    x[2, 69, 1] = np.inf
    for maps in (x, list(x)):
        with pytest.raises(InputError, match="NaN or infinity in map"):
            computed(device, maps, parameters, *given)
    with pytest.raises(InputError, match="NaN or infinity in map 2"):
        computed(device, np.nan_to_num(x, posinf=np.nan) * (np.abs(x) < 1e19), parameters, *given)


def test_coefficients_and_descriptors_of_wrong_shape_are_refused(device, rng):
    parameters = mixture(rng, 4, 6)
    x = descriptors(rng, parameters, 2, 10)
    first, second = functionals(rng, 3, 4, 6)
    with pytest.raises(InputError, match=r"first must have shape \(C, 4, 6\) or \(2, C, 4, 6\)"):
        computed(device, x, parameters, first[:, :3], second)
    with pytest.raises(InputError, match="second must be finite"):
        computed(device, x, parameters, first, second * np.nan)
    with pytest.raises(InputError, match="descriptors must have 6 dimensions"):
        computed(device, x[..., :5], parameters, first, second)
    assert device.launched == []


def test_torch_tensors_give_the_contributions_of_arrays(library, rng):
    torch = pytest.importorskip("torch")
    device = EmulatedTorchDevice(library)
    parameters, given = mixture(rng, 5, 8), functionals(rng, 2, 5, 8)
    x = descriptors(rng, parameters, 2, 48)
    found = contributions.compute(device, torch.from_numpy(x), *parameters, *given, threshold=1e-6)
    expected = cpu.contributions(x, *parameters, *given)
    for a, e in zip(found, expected, strict=True):
        assert a.dtype == torch.float64
        np.testing.assert_allclose(a.numpy(), e, atol=1e-4)


def test_cpu_and_cuda_have_the_same_parameters():
    ours, theirs = (inspect.signature(f).parameters for f in (contributions.contributions, cpu.contributions))
    assert list(map(str, ours.values())) == list(map(str, theirs.values()))
