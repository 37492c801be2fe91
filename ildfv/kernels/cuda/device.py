"""Devices the kernels run on: whose arrays, and by which way the code of csrc/cuda got there.

Two ways, one source: NVRTC at first use through CuPy's RawModule, or nvcc at install time (ILDFV_CUDA=1).
One memory pool: all that a call needs comes from the pool of the library whose arrays came in, and where torch uses the
GPU, CuPy's arrays come from torch's pool (pool.py). Arrays of other libraries are taken as torch's or CuPy's, uncopied.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np

from ildfv.errors import InputError, require
from ildfv.kernels.cuda import interop as exchange
from ildfv.kernels.cuda import memory as pool
from ildfv.kernels.cuda.launches import BYTES

OPTIONS = ("-std=c++17",)  # CuPy adds the architecture and -ftz=true
AHEAD = "ILDFV_CUDA=1 pip install ."
CUPY = f"pip install 'ildfv[cuda12]' or 'ildfv[cuda13]', or with nvcc: {AHEAD}"
TENSOR_CAPABILITY = 80  # of the first devices whose tensor cores take bfloat16 and TF32
DEFAULT_SHARED_BYTES = 48 << 10  # more must be asked for


class Device(Protocol):
    """What `kernels.cuda.moments` asks of a device. Everything is ordered on one stream, the caller's current one."""

    name: str
    key: tuple
    shared_limit: int
    tensor_cores: bool  # that take bfloat16 and TF32

    def describe(self, a) -> tuple[int, str, tuple[int, ...], tuple[int, ...]]:
        """Address, name of the dtype, shape, strides in elements."""

    def empty(self, shape: tuple[int, ...], dtype: str): ...
    def upload(self, host: np.ndarray): ...
    def download(self, a) -> np.ndarray: ...
    def contiguous(self, a): ...
    def cast(self, a, dtype: str): ...
    def settle(self) -> None: ...
    def launch(self, kernel: str, grid: tuple[int, int], threads: int, shared_bytes: int, arguments: tuple) -> None: ...


def device_of(a) -> Device:
    """The device on which the CuPy array or torch tensor `a` lives."""
    if type(a).__module__.partition(".")[0] == "torch":
        return _torch_device(a.device.index)
    pool.join()
    return _cupy_device(a.device.id)


def own_arrays(arrays: list) -> tuple[list, Callable]:
    """The arrays as torch's or CuPy's, in the same memory, and the function that gives results the kind that came."""
    kind = type(arrays[0]).__module__.partition(".")[0]
    if kind in ("torch", "cupy"):
        return arrays, lambda a: a
    library = _library()
    return [exchange.adopted(a, library) for a in arrays], exchange.giver(arrays[0])


def _library():
    """torch where it sees a GPU, else CuPy."""
    if find_spec("torch"):
        import torch

        if torch.cuda.is_available():
            return torch
    return require("cupy", purpose='device "cuda" without torch for CUDA', install=CUPY)


def first_device() -> Device:
    """The first GPU: torch's where torch sees one, else CuPy's."""
    return _torch_device(0) if _library().__name__ == "torch" else _cupy_device(0)


def way() -> str:
    """How the kernels come to a device: "nvcc", compiled at install time, or "nvrtc", compiled at first use by CuPy.

    ILDFV_CUDA_WAY chooses where both are there. MissingPackageError where neither is.
    """
    wanted = os.environ.get("ILDFV_CUDA_WAY", "")
    if wanted not in ("", "nvcc", "nvrtc"):
        raise InputError(f'ILDFV_CUDA_WAY must be nvcc or nvrtc, got "{wanted}"')
    if wanted != "nvrtc":
        try:
            from ildfv.kernels import _native_cuda  # noqa: F401

            return "nvcc"
        except ImportError:
            if wanted == "nvcc":
                require("ildfv.kernels._native_cuda", purpose="ILDFV_CUDA_WAY=nvcc", install=AHEAD)
    require("cupy", purpose='device "cuda"', install=CUPY)
    return "nvrtc"


def available() -> bool:
    """Whether the kernels can come to a device at all."""
    return find_spec("ildfv.kernels._native_cuda") is not None or find_spec("cupy") is not None


@cache
def source(name: str = "cuda/moments.cu") -> str:
    """A file of csrc with its headers pasted in: CuPy's cache of compiled kernels looks at this text alone."""
    root, seen = files("ildfv._csrc"), set()

    def text(name: str) -> str:
        seen.add(name)
        lines = []
        for line in root.joinpath(name).read_text(encoding="utf-8").splitlines():
            header = re.match(r'#include "(.+)"', line)
            if header:
                lines.append("" if header[1] in seen else text(header[1]))
            elif line != "#pragma once":
                lines.append(line)
        return "\n".join(lines)

    return text(name)


class _Stream:
    """Any library's stream, as CuPy's launches take it. (CuPy's own wrappers are deprecated or may destroy it.)"""

    def __init__(self, address: int):
        self.ptr = address


FILES = {"window": "cuda/windows.cu", "fisher": "cuda/fisher.cu", "m_step": "cuda/em.cu"}  # by word of a kernel's name


def home_of(kernel: str) -> tuple[str, int | None]:
    """The file of csrc that holds the kernel, and its ILDFV_PART of moments.cu: the bits of what it computes in."""
    for word, file in FILES.items():
        if word in kernel:
            return file, None
    if "tensor" in kernel:
        return "cuda/moments.cu", 19
    return "cuda/moments.cu", 32 if "float32" in kernel else 64  # finish_float32_float64 reads float32


class _RuntimeKernels:
    """Kernels compiled by NVRTC for one device, each file, and part of moments.cu, when it is first used."""

    def __init__(self, index: int):
        self._index = index
        self._modules: dict[tuple, Any] = {}  # RawModule by file and part
        self._kernels: dict[str, Any] = {}  # RawKernel by name

    def shared_limit(self) -> int:
        import cupy

        return cupy.cuda.Device(self._index).attributes["MaxSharedMemoryPerBlockOptin"]

    def capability(self) -> int:
        import cupy

        return int(cupy.cuda.Device(self._index).compute_capability)

    def _kernel(self, cupy, name: str):
        if name not in self._kernels:
            home = file, part = home_of(name)
            if home not in self._modules:
                options = (*OPTIONS, f"-DILDFV_PART={part}") if part else OPTIONS
                self._modules[home] = cupy.RawModule(code=source(file), options=options)
            self._kernels[name] = self._modules[home].get_function(name)
        return self._kernels[name]

    def launch(self, kernel, grid, threads, shared_bytes, arguments, stream: int) -> None:
        import cupy

        packed = tuple(np.float64(a) if isinstance(a, float) else np.int64(a) for a in arguments)
        with cupy.cuda.Device(self._index):
            function = self._kernel(cupy, kernel)
            if shared_bytes > max(DEFAULT_SHARED_BYTES, function.max_dynamic_shared_size_bytes):
                function.max_dynamic_shared_size_bytes = shared_bytes
            function(grid, (threads,), packed, shared_mem=shared_bytes, stream=_Stream(stream))


class _CompiledKernels:
    """Kernels compiled by nvcc when ildfv was installed."""

    def __init__(self, index: int):
        from ildfv.kernels import _native_cuda

        self._index, self._native = index, _native_cuda

    def shared_limit(self) -> int:
        return self._native.shared_limit(self._index)

    def capability(self) -> int:
        return self._native.capability(self._index)

    def launch(self, kernel, grid, threads, shared_bytes, arguments, stream: int) -> None:
        self._native.launch(self._index, kernel, grid[0], grid[1], threads, shared_bytes, stream, arguments)


def _kernels(index: int):
    return _CompiledKernels(index) if way() == "nvcc" else _RuntimeKernels(index)


class _TorchDevice:
    """Tensors of torch, on torch's current stream."""

    def __init__(self, index: int):
        import torch

        self.name = torch.cuda.get_device_name(index)
        self.key = ("torch", index)
        self._torch, self._index, self._kernels = torch, index, _kernels(index)
        self._device = torch.device("cuda", index)
        self.shared_limit = self._kernels.shared_limit()
        self.tensor_cores = self._kernels.capability() >= TENSOR_CAPABILITY

    def describe(self, a):
        return a.data_ptr(), str(a.dtype).removeprefix("torch."), tuple(a.shape), tuple(a.stride())

    def empty(self, shape, dtype):
        return self._torch.empty(shape, dtype=getattr(self._torch, dtype), device=self._device)

    def upload(self, host):
        return self._torch.from_numpy(host).to(self._device)

    def download(self, a):
        return a.cpu().numpy()

    def contiguous(self, a):
        return a.contiguous()

    def cast(self, a, dtype):
        return a.to(getattr(self._torch, dtype))

    def settle(self):
        self._torch.cuda.current_stream(self._device).synchronize()

    def launch(self, kernel, grid, threads, shared_bytes, arguments):
        stream = self._torch.cuda.current_stream(self._device).cuda_stream
        self._kernels.launch(kernel, grid, threads, shared_bytes, arguments, stream)


class _CupyDevice:
    """Arrays of CuPy, on CuPy's current stream."""

    def __init__(self, index: int):
        import cupy

        self.name = cupy.cuda.runtime.getDeviceProperties(index)["name"].decode()
        self.key = ("cupy", index)
        self._cupy, self._index, self._kernels = cupy, index, _kernels(index)
        self.shared_limit = self._kernels.shared_limit()
        self.tensor_cores = self._kernels.capability() >= TENSOR_CAPABILITY

    def describe(self, a):
        strides = tuple(stride // a.dtype.itemsize for stride in a.strides)
        return a.data.ptr, a.dtype.name, a.shape, strides

    def empty(self, shape, dtype):
        with self._cupy.cuda.Device(self._index):
            return self._cupy.empty(shape, dtype=dtype)

    def upload(self, host):
        with self._cupy.cuda.Device(self._index):
            return self._cupy.asarray(host)

    def download(self, a):
        return a.get()

    def contiguous(self, a):
        with self._cupy.cuda.Device(self._index):
            return self._cupy.ascontiguousarray(a)

    def cast(self, a, dtype):
        with self._cupy.cuda.Device(self._index):
            return a.astype(dtype)

    def settle(self):
        with self._cupy.cuda.Device(self._index):
            self._cupy.cuda.get_current_stream().synchronize()

    def launch(self, kernel, grid, threads, shared_bytes, arguments):
        with self._cupy.cuda.Device(self._index):
            stream = self._cupy.cuda.get_current_stream().ptr
        self._kernels.launch(kernel, grid, threads, shared_bytes, arguments, stream)


_torch_device = cache(_TorchDevice)
_cupy_device = cache(_CupyDevice)


def element_bytes(name: str) -> int:
    """Size of one value; InputError for a dtype the kernels do not take."""
    if name not in BYTES:
        raise InputError(f"maps must be {', '.join(BYTES)}, got {name}")
    return BYTES[name]
