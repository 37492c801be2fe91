"""The windowing kernel, run on the CPU, gives the bytes of the NumPy code."""

import numpy as np
import pytest
from emulation import EmulatedTorchDevice, OnDevice

from ildfv.kernels.cuda import build
from ildfv.kernels.cuda import windows as kernel
from ildfv.scans import windows


@pytest.fixture
def on_device(device, monkeypatch):
    """The function scans.windows.windowed, made to use its GPU path."""
    monkeypatch.setattr(windows, "on_gpu", lambda a: isinstance(a, OnDevice))
    monkeypatch.setattr(build, "available", lambda: True)
    monkeypatch.setattr(kernel, "device_of", lambda a: device)
    monkeypatch.setattr(kernel, "own_arrays", lambda arrays: (arrays, lambda a: a))

    def windowed(hu, **options):
        before = len(device.launched)
        result = windows.windowed(hu.view(OnDevice), **options)
        assert device.launched[before:] == (["window_slices"] if hu.size else [])
        assert isinstance(result, OnDevice)
        return np.asarray(result)

    return windowed


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64, np.int32, np.uint16])
@pytest.mark.parametrize("shape", [(512, 512), (2, 300, 200), (1, 64, 100), (2, 3, 30, 30), (0, 20, 20)])
def test_windows_have_the_bytes_of_numpy(on_device, rng, shape, dtype):
    hu = rng.uniform(0 if dtype == np.uint16 else -1500, 500, shape).astype(dtype)
    assert np.array_equal(on_device(hu), windows.windowed(hu))


def test_other_sizes_and_views_of_volumes_have_the_bytes_of_numpy(on_device, rng):
    volume = rng.integers(-1500, 500, (40, 50, 6)).astype(np.int16)
    for hu in (volume.transpose(2, 0, 1), volume[::2, ::-1, 1], volume[5:30, :, 2:4].T):
        assert np.array_equal(on_device(hu, size=56), windows.windowed(hu, size=56))


def test_extreme_values_are_clipped(on_device):
    hu = np.array([[-32768, 32767], [-1400, 240]], dtype=np.int16)
    assert np.array_equal(on_device(hu, size=8), windows.windowed(hu, size=8))
    hu = np.array([[-3e38, 3e38], [np.inf, -np.inf]], dtype=np.float32)
    assert np.array_equal(on_device(hu, size=8), windows.windowed(hu, size=8))


def test_torch_tensors_have_the_bytes_of_numpy(library, rng, monkeypatch):
    torch = pytest.importorskip("torch")
    device = EmulatedTorchDevice(library)
    hu = rng.integers(-1500, 500, (2, 96, 80)).astype(np.int16)
    taps = windows._taps(96, 96, 224), windows._taps(80, 96, 224)
    result = kernel.compute(device, torch.from_numpy(hu), windows.WINDOWS, *taps)
    assert result.dtype == torch.uint8
    assert np.array_equal(result.numpy(), windows.windowed(hu))


def test_without_cupy_and_nvcc_the_array_library_is_used(device, rng, monkeypatch):
    hu = rng.integers(-1500, 500, (64, 64)).astype(np.int16)
    expected = windows.windowed(hu)
    monkeypatch.setattr(build, "available", lambda: False)
    monkeypatch.setattr(windows, "on_gpu", lambda a: True)
    monkeypatch.setattr(kernel, "device_of", lambda a: device)
    assert np.array_equal(windows.windowed(hu), expected)
    assert device.launched == []
