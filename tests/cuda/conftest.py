"""Fixtures: the emulated device and random numbers."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from emulation import EmulatedDevice
from emulation import build as build_emulation
from gpu_support import cupy, torch

from ildfv.kernels.cuda import build, moments
from ildfv.kernels.cuda import device as devices


@pytest.fixture(scope="session")
def library():
    """The kernels compiled for the CPU."""
    return build_emulation()


@pytest.fixture
def device(library):
    """A device with an H100's shared memory."""
    return EmulatedDevice(library)


@pytest.fixture(autouse=True)
def _default_variant():
    yield
    moments.set_variant(None)


@pytest.fixture
def rng():
    return np.random.default_rng(20260101)


@pytest.fixture(params=["nvrtc", "nvcc"])
def way(request, monkeypatch):
    """The name of each installed build of the kernels."""
    monkeypatch.setenv("ILDFV_CUDA_WAY", request.param)
    devices._torch_device.cache_clear()
    devices._cupy_device.cache_clear()
    try:
        assert build.build_kind() == request.param
    except ImportError as error:
        pytest.skip(str(error))
    yield request.param
    devices._torch_device.cache_clear()
    devices._cupy_device.cache_clear()


@pytest.fixture(params=["torch", "cupy"])
def put(request, way, monkeypatch):
    """A function from NumPy arrays to arrays on the device, whose new arrays are filled with NaN."""
    kind = devices.TorchDevice if request.param == "torch" else devices.CupyDevice
    if request.param == "torch" and (torch is None or not torch.cuda.is_available()):
        pytest.skip("needs torch with CUDA")
    if request.param == "cupy" and cupy is None:
        pytest.skip("needs CuPy")
    empty = kind.empty

    def poisoned(self, shape, dtype):
        array = empty(self, shape, dtype)
        array[...] = float("nan") if "float" in dtype else 0xA5
        return array

    monkeypatch.setattr(kind, "empty", poisoned)
    if request.param == "torch":
        return lambda a: torch.from_numpy(a).cuda()
    return cupy.asarray
