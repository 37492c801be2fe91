"""Devices, random numbers and comparisons of the tests on a real GPU."""

import os

import numpy as np
import pytest
from problems import distances

from ildfv.kernels import cpu, reference
from ildfv.kernels.cuda import device as devices
from ildfv.kernels.cuda import launches, moments

try:
    import torch
except ImportError:
    torch = None
try:
    import cupy
except ImportError:
    cupy = None


def available_devices() -> int:
    if torch is not None and torch.cuda.is_available():
        return torch.cuda.device_count()
    return cupy.cuda.runtime.getDeviceCount() if cupy is not None and cupy.cuda.is_available() else 0


needs_gpu = pytest.mark.skipif(available_devices() == 0, reason="needs a CUDA device and torch or CuPy built for it")


def fresh_rng() -> np.random.Generator:
    """Random numbers that differ in every run; the seed is printed."""
    seed = int.from_bytes(os.urandom(4), "little")
    print("seed", seed)
    return np.random.default_rng(seed)


def host(result):
    return [a.cpu().numpy() if hasattr(a, "cpu") else a.get() for a in result]


def force(variant, real, k, d):
    """Sets the variant; skips the test if the variant needs more shared memory than the device has."""
    limit = devices.first_device().shared_limit
    kind = variant if real == "float32" else variant.removeprefix(launches.TENSOR)
    if kind not in launches.fitting_variants(real, k, d, limit):
        pytest.skip(f"{kind} needs {launches.shared_bytes(kind, real, k, d)} bytes of shared memory, of {limit}")
    moments.set_variant(variant)


def agree(maps, like, parameters, *, tolerance=1e-5, with_cpu=True, **options):
    result = moments.moments(maps, *parameters, **options)
    first = maps[0] if isinstance(maps, list) else maps
    assert type(result.s1) is type(first)
    assert str(result.s1.device) == str(first.device)
    result = host(result)
    expected = reference.moments(like, *parameters, **options)
    assert [np.shape(a) for a in result] == [np.shape(e) for e in expected]
    assert max(distances(result, expected)) < tolerance, distances(result, expected)
    if with_cpu:
        assert max(distances(result, cpu.moments(like, *parameters, **options))) < 2 * tolerance
    return result
