"""Arrays of any library are accepted through DLPack or `__cuda_array_interface__`; results are of the same library."""

import importlib.util
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from emulation import FLAGS, ROOT, EmulatedDevice, EmulatedTorchDevice, OnDevice, compiler
from problems import channel_first, descriptors, distances, mixture

from ildfv.errors import InputError
from ildfv.kernels import reference
from ildfv.kernels.cuda import device as devices
from ildfv.kernels.cuda import interop, moments

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch")


class ByDlpack:
    """A tensor that claims to be on a GPU."""

    def __init__(self, tensor, device=(2, 0)):
        self.tensor, self.device, self.streams = tensor, device, []

    def __dlpack_device__(self):
        return self.device

    def __dlpack__(self, stream=None):
        self.streams.append(stream)
        capsule = self.tensor.__dlpack__()
        tensor = interop._Tensor.from_address(interop._pointer_in(capsule, b"dltensor"))
        tensor.device_type, tensor.device = self.device
        return capsule


class ByInterface:
    """An array with `__cuda_array_interface__`, like numba's."""

    def __init__(self, array):
        interface = array.__array_interface__
        names = ("shape", "typestr", "data", "strides")
        self.array, self.__cuda_array_interface__ = array, {"version": 3} | {name: interface[name] for name in names}


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "uint8", "int16"])
def test_address_and_layout_through_dlpack(dtype):
    tensor = torch.zeros(4, 5, 6).to(getattr(torch, dtype))[1:, :, 2::2]
    given = ByDlpack(tensor)
    found = interop.place(given, 77)
    assert found[:5] == (tensor.data_ptr(), dtype, tuple(tensor.shape), tensor.stride(), 0)
    assert given.streams == [77]  # the stream on which the values must be ready
    interop.place(given)
    assert given.streams == [77, 1]  # DLPack calls the default stream 1


def test_address_and_layout_through_the_interface(rng):
    array = rng.normal(size=(4, 5, 6)).astype(np.float32)
    whole, part = (interop.place(ByInterface(a)) for a in (array, array[1:, :, ::2]))
    assert whole[:5] == (array.ctypes.data, "float32", (4, 5, 6), (30, 6, 1), None)
    assert part[:5] == (array[1:].ctypes.data, "float32", (3, 5, 3), (30, 6, 2), None)


@pytest.mark.parametrize(
    ("a", "message"),
    [
        (ByDlpack(torch.zeros(2), (1, 0)), "must be on a CUDA device, got DLPack device type 1"),
        (ByDlpack(torch.zeros(2, dtype=torch.complex64)), "must contain real numbers"),
        (ByInterface(np.zeros(2, ">f4")), "must contain real numbers, got >f4"),
        ([1.0], "must support DLPack or __cuda_array_interface__, got list"),
    ],
)
def test_other_objects_are_refused(a, message):
    with pytest.raises(InputError, match=message):
        interop.place(a)


def test_on_gpu_recognises_both_protocols():
    assert interop.on_gpu(ByDlpack(torch.zeros(2)))
    assert interop.on_gpu(ByInterface(np.zeros(2)))
    assert not interop.on_gpu(ByDlpack(torch.zeros(2), (1, 0)))
    assert not any(interop.on_gpu(a) for a in (np.zeros(2), torch.zeros(2), [1.0], None))


class Foreign:
    """An array of a library that is neither torch nor CuPy but has the array API's from_dlpack."""

    def __init__(self, tensor):
        self.tensor = tensor

    def __dlpack_device__(self):
        return self.tensor.__dlpack_device__()

    def __dlpack__(self, **options):
        return self.tensor.__dlpack__(**options)

    def __array_namespace__(self):
        return SimpleNamespace(from_dlpack=Foreign)


@pytest.mark.parametrize("ragged", [False, True])
def test_results_are_arrays_of_the_library_of_the_input(library, rng, monkeypatch, ragged):
    device = EmulatedTorchDevice(library)
    monkeypatch.setattr(devices, "_library", lambda: torch)
    monkeypatch.setattr(moments, "device_of", lambda a: device)
    parameters = mixture(rng, 4, 6)
    x = descriptors(rng, parameters, 3, 40)
    given = [Foreign(torch.from_numpy(a)) for a in x] if ragged else Foreign(torch.from_numpy(channel_first(x, 8)))
    found = moments.moments(given, *parameters)
    assert {type(a) for a in found} == {Foreign}
    assert max(distances([a.tensor.numpy() for a in found], reference.moments(x, *parameters))) < 1e-5


def test_the_interface_alone_is_sufficient_for_input(rng):
    library = SimpleNamespace(__name__="cupy", asarray=lambda a: ("taken", a))
    given = ByInterface(rng.normal(size=(2, 3)))
    assert interop.converted(given, library) == ("taken", given)
    assert interop.converter_to(given)("result") == "result"  # without from_dlpack, results are not converted


# ---- the Cython extension, around the emulated kernels


@pytest.fixture(scope="module")
def native(tmp_path_factory):
    """The module _native_cuda.pyx, built as with ILDFV_CUDA=1, but with the emulated kernels."""
    pytest.importorskip("Cython")
    folder = tmp_path_factory.mktemp("native")
    translated = folder / "native.cpp"
    source = str(ROOT / "ildfv" / "kernels" / "_native_cuda.pyx")
    subprocess.run([sys.executable, "-m", "cython", "--cplus", "-3", source, "-o", str(translated)], check=True)
    built = folder / f"_native_cuda{sysconfig.get_config_var('EXT_SUFFIX')}"
    here = ROOT / "tests" / "cuda"
    includes = [f"-I{path}" for path in (ROOT / "csrc", here, sysconfig.get_path("include"))]
    sources = [str(translated), str(here / "emulated_launch.cpp")]
    flags = [flag for flag in FLAGS if flag != "-Wall"]
    subprocess.run([compiler(), *flags, *includes, *sources, "-o", str(built)], check=True)
    spec = importlib.util.spec_from_file_location("_native_cuda", built)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class ThroughExtension(EmulatedDevice):
    """An emulated device whose kernels are launched by the extension."""

    def __init__(self, library: Path, native):
        super().__init__(library, native.shared_limit(0), tensor_cores=native.capability(0) >= 80)
        self._native = native

    def launch(self, kernel, grid, threads, shared_bytes, arguments):
        self.launched.append(kernel)
        self._native.launch(0, kernel, *grid, threads, shared_bytes, 0, arguments)


@pytest.mark.slow
@pytest.mark.parametrize(("b", "n", "d", "k"), [(2, 70, 9, 5), (3, 600, 4, 3), (5, 1, 70, 33), (1, 65, 6, 128)])
@pytest.mark.parametrize("pooled", [False, True])
def test_both_launchers_give_the_same_bits(native, library, rng, b, n, d, k, pooled):
    parameters = mixture(rng, k, d)
    x = descriptors(rng, parameters, b, n)
    devices = EmulatedDevice(library), ThroughExtension(library, native)
    options = {"threshold": 1e-6, "pooled": pooled}
    ours, theirs = (moments.compute(device, x.view(OnDevice), *parameters, **options) for device in devices)
    assert devices[0].launched == devices[1].launched
    assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.slow
def test_the_extension_takes_arrays_of_any_library(native, rng):
    s0, s1, s2, logs = (rng.normal(size=shape) for shape in ((2, 3), (2, 3, 4), (2, 3, 4), (2,)))
    out = [np.full(a.shape[1:] or 1, np.nan) for a in (s0, s1, s2, logs)]
    given = (
        ByInterface(s0), ByDlpack(torch.from_numpy(s1)), s2.ctypes.data, ByInterface(logs),
        *(ByDlpack(torch.from_numpy(a)) for a in out), 4, 3, 2, 2, 0,
    )  # fmt: skip
    native.launch(0, "finish_float64_float64", 1, 1, 256, 0, 0, given)
    assert all(np.array_equal(a, b.sum(axis=0)) for a, b in zip(out[:3], (s0, s1, s2), strict=True))
    assert out[3] == logs.sum()


def test_errors_of_the_extension_name_kernel_and_device(native):
    with pytest.raises(RuntimeError, match="nothing on cuda:0: no such kernel"):
        native.launch(0, "nothing", 1, 1, 32, 0, 0, ())
    with pytest.raises(RuntimeError, match="cuda:3: invalid device ordinal"):
        native.capability(3)
    with pytest.raises(ValueError, match="arrays must be on cuda:0, got one on cuda:1"):
        native.launch(0, "nothing", 1, 1, 32, 0, 0, (ByDlpack(torch.zeros(2), (2, 1)),))
    with pytest.raises(ValueError, match="at most 32 arguments, got 33"):
        native.launch(0, "nothing", 1, 1, 32, 0, 0, (0,) * 33)
    with pytest.raises(InputError, match="must support DLPack"):
        native.launch(0, "nothing", 1, 1, 32, 0, 0, ("text",))
