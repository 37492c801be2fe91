"""The GPU on which the kernels run, used through torch or through CuPy.

A call allocates all its memory from the memory pool of its arrays' library. If torch uses the GPU, CuPy allocates from
torch's pool (memory.py). Arrays of other libraries are converted to torch or CuPy arrays without a copy.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Protocol

import numpy as np

from ildfv.errors import InputError, require
from ildfv.kernels.cuda import interop, memory
from ildfv.kernels.cuda.build import INSTALL_CUPY, kernels_on

PINNED_BYTES = 1 << 20  # larger arrays bypass pinned memory, because torch would keep that memory after the upload
TENSOR_CAPABILITY = 80  # ten times the lowest compute capability whose tensor cores support bfloat16 and TF32


class Device(Protocol):
    """Protocol of a device that can run the kernels. All work is queued on one stream, the caller's current stream."""

    name: str
    key: tuple  # library and index of the device
    shared_limit: int  # bytes of shared memory a block may use
    tensor_cores: bool  # whether the device has tensor cores for bfloat16 and TF32

    def describe(self, a) -> tuple[int, str, tuple[int, ...], tuple[int, ...]]:
        """Address, dtype name, shape, and strides in elements. InputError unless `a` is an array on this device."""

    def address(self, a) -> int:
        """The address of an array that this device made."""

    def empty(self, shape: tuple[int, ...], dtype: str):
        """An uninitialised array."""

    def upload(self, host: np.ndarray):
        """A copy of a NumPy array on the device."""

    def download(self, a) -> np.ndarray:
        """A copy of an array in host memory. Waits until the queued work has completed."""

    def contiguous(self, a):
        """The array, copied only if it is not C-contiguous."""

    def cast(self, a, dtype: str):
        """The array converted to a dtype."""

    def settle(self) -> None:
        """Waits until the work queued on the current stream has completed."""

    def launch(self, kernel: str, grid: tuple[int, int], threads: int, shared_bytes: int, arguments: tuple) -> None:
        """Queues a kernel of csrc/cuda. threads: per block. shared_bytes: dynamic shared memory per block."""


def device_of(a) -> Device:
    """The device on which the CuPy array or torch tensor `a` is stored."""
    if type(a).__module__.partition(".")[0] == "torch":
        return _torch_device(a.device.index)
    memory.join()
    return _cupy_device(a.device.id)


def own_arrays(arrays: list) -> tuple[list, Callable]:
    """The arrays as torch or CuPy arrays in the same memory, and a function that converts results back."""
    kind = type(arrays[0]).__module__.partition(".")[0]
    if kind in ("torch", "cupy"):
        return arrays, lambda a: a
    library = _library()
    return [interop.converted(a, library) for a in arrays], interop.converter_to(arrays[0])


def _library():
    """The module torch if torch can use a GPU, otherwise CuPy."""
    if find_spec("torch"):
        import torch

        if torch.cuda.is_available():
            return torch
    return require("cupy", purpose='device "cuda" without a CUDA build of torch', install=INSTALL_CUPY)


def first_device() -> Device:
    """The first GPU, used through torch if torch can use it, otherwise through CuPy."""
    return _torch_device(0) if _library().__name__ == "torch" else _cupy_device(0)


class TorchDevice:
    """A GPU used through torch: its arrays are tensors, and its work runs on torch's current stream."""

    def __init__(self, index: int):
        import torch

        self.name = torch.cuda.get_device_name(index)
        self.key = ("torch", index)
        self._torch, self._index, self._kernels = torch, index, kernels_on(index)
        self._device = torch.device("cuda", index)
        self.shared_limit = self._kernels.shared_limit()
        self.tensor_cores = self._kernels.capability() >= TENSOR_CAPABILITY

    def describe(self, a):
        if not (isinstance(a, self._torch.Tensor) and a.device == self._device):
            raise InputError(f"arrays must all be torch tensors on {self._device}, got {_described(a)}")
        return a.data_ptr(), _name(a.dtype), tuple(a.shape), tuple(a.stride())

    def address(self, a):
        return a.data_ptr()

    def empty(self, shape, dtype):
        return self._torch.empty(shape, dtype=getattr(self._torch, dtype), device=self._device)

    def upload(self, host):
        source = self._torch.from_numpy(host)
        if source.nbytes > PINNED_BYTES:
            return source.to(self._device)
        return self._pinned(source).to(self._device, non_blocking=True)

    def _pinned(self, tensor):
        """A copy in pinned memory from torch's cache, which keeps the copy until the device has read it."""
        return tensor.pin_memory()

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


class CupyDevice:
    """A GPU used through CuPy: its work runs on CuPy's current stream."""

    def __init__(self, index: int):
        import cupy

        self.name = cupy.cuda.runtime.getDeviceProperties(index)["name"].decode()
        self.key = ("cupy", index)
        self._cupy, self._index, self._kernels = cupy, index, kernels_on(index)
        self.shared_limit = self._kernels.shared_limit()
        self.tensor_cores = self._kernels.capability() >= TENSOR_CAPABILITY

    def describe(self, a):
        if not (isinstance(a, self._cupy.ndarray) and a.device.id == self._index):
            raise InputError(f"arrays must all be CuPy arrays on cuda:{self._index}, got {_described(a)}")
        strides = tuple(stride // a.dtype.itemsize for stride in a.strides)
        return a.data.ptr, a.dtype.name, a.shape, strides

    def address(self, a):
        return a.data.ptr

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


@cache
def _name(dtype) -> str:
    """The name of a torch dtype, without the prefix "torch."."""
    return str(dtype).removeprefix("torch.")


def _described(a) -> str:
    """The type of an array and its device, for messages."""
    kind = f"{type(a).__module__.partition('.')[0]}.{type(a).__name__}"
    return f"{kind} on {a.device}" if hasattr(a, "device") else kind


_torch_device = cache(TorchDevice)
_cupy_device = cache(CupyDevice)
