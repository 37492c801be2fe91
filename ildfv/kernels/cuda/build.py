"""Compiles the kernels of csrc/cuda and launches them.

The same source can be built in two ways: by NVRTC at first use, through CuPy's RawModule, or by nvcc at install time
(ILDFV_CUDA=1).
"""

from __future__ import annotations

import os
import re
import threading
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from typing import Any

import numpy as np

from ildfv.errors import InputError, require

NVRTC_OPTIONS = ("-std=c++17",)  # CuPy adds the architecture and -ftz=true
INSTALL_NVCC = "ILDFV_CUDA=1 pip install ."
INSTALL_CUPY = f"pip install 'ildfv[cuda12]' or 'ildfv[cuda13]', or with nvcc: {INSTALL_NVCC}"


def build_kind() -> str:
    """The build in use: "nvcc", compiled at install time, or "nvrtc", compiled at first use by CuPy.

    The environment variable ILDFV_CUDA_WAY selects one; by default, "nvcc" is preferred. MissingPackageError: the
    selected build is not installed, or neither is. InputError: ILDFV_CUDA_WAY has another value.
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
                require("ildfv.kernels._native_cuda", purpose="ILDFV_CUDA_WAY=nvcc", install=INSTALL_NVCC)
    require("cupy", purpose='device "cuda"', install=INSTALL_CUPY)
    return "nvrtc"


def available() -> bool:
    """Whether either build is installed."""
    return find_spec("ildfv.kernels._native_cuda") is not None or find_spec("cupy") is not None


@cache
def source(name: str = "cuda/moments.cu") -> str:
    """A file of csrc with its headers inlined, because CuPy's cache of compiled kernels depends on this text only."""
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


FILES = {  # part of a kernel's name → file
    "window": "cuda/windows.cu",
    "fisher": "cuda/fisher.cu",
    "m_step": "cuda/em.cu",
    "contributions": "cuda/contributions.cu",
}


def source_of(kernel: str) -> tuple[str, int | None]:
    """The file of csrc that defines the kernel and, for moments.cu, the ILDFV_PART to compile: 19, 32 or 64 (bits)."""
    for word, file in FILES.items():
        if word in kernel:
            return file, None
    if "tensor" in kernel:
        return "cuda/moments.cu", 19
    return "cuda/moments.cu", 32 if "float32" in kernel else 64  # finish_float32_float64 reads float32


class _Stream:
    """Wraps a stream of any library for CuPy. CuPy's own wrappers are deprecated or may destroy the stream."""

    def __init__(self, address: int):
        self.ptr = address


class NvrtcKernels:
    """Kernels compiled by NVRTC for one device: each file, and each part of moments.cu, at its first use."""

    def __init__(self, index: int):
        self._index = index
        self._modules: dict[tuple, Any] = {}  # RawModule by file and part
        self._kernels: dict[str, Any] = {}  # RawKernel by name
        self._lock = threading.Lock()  # without it, two threads could compile the same file

    def shared_limit(self) -> int:
        import cupy

        return cupy.cuda.Device(self._index).attributes["MaxSharedMemoryPerBlockOptin"]

    def capability(self) -> int:
        import cupy

        return int(cupy.cuda.Device(self._index).compute_capability)

    def _kernel(self, cupy, name: str):
        with self._lock:
            if name not in self._kernels:
                key = file, part = source_of(name)
                if key not in self._modules:
                    options = (*NVRTC_OPTIONS, f"-DILDFV_PART={part}") if part else NVRTC_OPTIONS
                    self._modules[key] = cupy.RawModule(code=source(file), options=options)
                kernel = self._modules[key].get_function(name)
                # Set once, to the maximum: another thread could lower a value that is set for each launch.
                kernel.max_dynamic_shared_size_bytes = self.shared_limit()
                self._kernels[name] = kernel
        return self._kernels[name]

    def launch(self, kernel, grid, threads, shared_bytes, arguments, stream: int) -> None:
        import cupy

        packed = tuple(np.float64(a) if isinstance(a, float) else np.int64(a) for a in arguments)
        with cupy.cuda.Device(self._index):
            function = self._kernel(cupy, kernel)
            function(grid, (threads,), packed, shared_mem=shared_bytes, stream=_Stream(stream))


class NvccKernels:
    """Kernels compiled by nvcc at install time."""

    def __init__(self, index: int):
        from ildfv.kernels import _native_cuda

        self._index, self._native = index, _native_cuda

    def shared_limit(self) -> int:
        return self._native.shared_limit(self._index)

    def capability(self) -> int:
        return self._native.capability(self._index)

    def launch(self, kernel, grid, threads, shared_bytes, arguments, stream: int) -> None:
        self._native.launch(self._index, kernel, grid[0], grid[1], threads, shared_bytes, stream, arguments)


def kernels_on(index: int) -> NvccKernels | NvrtcKernels:
    """The kernels for the GPU of this index."""
    return NvccKernels(index) if build_kind() == "nvcc" else NvrtcKernels(index)
