"""Comparison of the CUDA kernels on the first GPU with the specification, in about a second, for `ildfv doctor`."""

from __future__ import annotations

import numpy as np

from ildfv.kernels import reference
from ildfv.kernels.cuda import em, fisher, launches, moments
from ildfv.kernels.cuda.build import build_kind
from ildfv.kernels.cuda.device import Device, first_device

TOLERANCE = 1e-5  # relative, in float32


def run() -> str:
    """One line about the first GPU: its name, the build of the kernels, and their largest error on two small problems.

    MissingPackageError if neither CuPy nor the build by nvcc is installed. RuntimeError if no device responds or a
    result is wrong.
    """
    build = build_description()
    device = first_device()
    # With TENSOR_K components, tensor cores are used if present. np.max, unlike max, propagates NaN.
    error = np.max([_largest_error(device, k) for k in (2, launches.TENSOR_K)])
    if not error < TOLERANCE:
        raise RuntimeError(f"moments on {device.name} differ from the specification by {error:.1e}")
    cores = "with" if device.tensor_cores else "without"
    return f"{device.name}, {cores} tensor cores: {build}, differs from the specification by {error:.0e}"


def build_description() -> str:
    """The build in use, in words. MissingPackageError if neither CuPy nor the build by nvcc is installed."""
    return "compiled by nvcc when ildfv was installed" if build_kind() == "nvcc" else "compiled by NVRTC at first use"


def _largest_error(device: Device, k: int) -> float:
    """Largest relative error of moments, Fisher vectors and the M step for a mixture of k components."""
    rng = np.random.default_rng(k)
    mixture = np.full(k, 1 / k), rng.normal(size=(k, 5)), rng.uniform(0.5, 2.0, (k, 5))
    x = rng.normal(size=(1, 100, 5)).astype(np.float32)
    expected = reference.moments(x, *mixture, threshold=1e-6)
    found = moments.compute(device, device.upload(x), *mixture, threshold=1e-6, pooled=False)
    n = np.array([100.0])
    vectors = fisher.compute(
        device, list(found[:3]), n, mixture[0], improved=True, order="component", weight_part=False
    )
    pairs = [*zip((*found, vectors), (*expected, reference.vectors(expected, n, mixture[0])), strict=True)]
    pairs = [(device.download(a), b) for a, b in pairs]
    pooled = moments.compute(device, device.upload(x), *mixture, threshold=1e-6, pooled=True)
    step = em.compute(device, list(pooled[:3]), *mixture, inertia=1.0)
    s0, s1, s2 = (a[0] for a in expected[:3])  # there is a single map, so these are also the pooled sums
    pairs += zip(step, reference.m_step(s0, s1, s2, *mixture, inertia=1.0), strict=True)
    return float(np.max([np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in pairs]))
