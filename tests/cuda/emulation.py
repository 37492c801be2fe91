"""The kernels of csrc/cuda compiled for the CPU, behind the interface of a device."""

from __future__ import annotations

import ctypes
import hashlib
import itertools
import os
import shutil
import subprocess
import tempfile
import weakref
from pathlib import Path

import numpy as np
import pytest

from ildfv.kernels.cuda.device import TorchDevice
from ildfv.kernels.tables import BFLOAT16

ROOT = Path(__file__).resolve().parents[2]
NUMBERS = itertools.count()  # device keys: unlike addresses, they are never reused
SOURCES = [
    *sorted((ROOT / "csrc" / "common").glob("*.h")),
    *sorted(p for p in (ROOT / "csrc" / "cuda").iterdir() if p.suffix in (".h", ".cu")),
    ROOT / "tests" / "cuda" / "emulation.h",
    ROOT / "tests" / "cuda" / "emulated.cpp",
]
FLAGS = ["-std=c++20", "-O2", "-fPIC", "-shared", "-pthread", "-fno-strict-aliasing", "-Wall", "-Wno-unknown-pragmas"]


def compiler() -> str:
    found = shutil.which(os.environ.get("CXX", "g++"))
    if found is None:
        pytest.skip("needs a C++20 compiler")
    return found


def build() -> Path:
    """The emulation as a shared library, cached in the temporary folder until its sources change."""
    flags = [*FLAGS, *os.environ.get("ILDFV_EMULATION_FLAGS", "").split()]
    text = b"".join(path.read_bytes() for path in SOURCES) + " ".join([compiler(), *flags]).encode()
    target = Path(tempfile.gettempdir()) / f"ildfv-emulated-{os.getuid()}-{hashlib.sha256(text).hexdigest()[:16]}.so"
    if not target.exists():
        fresh = target.with_name(f"{os.getpid()}-{target.name}")
        includes = ["-I", str(ROOT / "csrc"), "-I", str(ROOT / "tests" / "cuda")]
        source = str(ROOT / "tests" / "cuda" / "emulated.cpp")
        subprocess.run([compiler(), *flags, *includes, source, "-o", str(fresh)], check=True)
        fresh.rename(target)
    return target


class OnDevice(np.ndarray):
    """An array in device memory. NumPy cannot compute with it until it is downloaded."""

    __array_ufunc__ = None


class OutOfMemoryError(MemoryError):
    """The package recognises this exception by its name, which is that of torch's and CuPy's exception."""


class EmulatedDevice:
    """NumPy arrays as device memory. New arrays are filled with NaN to detect values that are never written.

    room: total bytes that `empty` can allocate; None: unlimited.
    """

    def __init__(
        self, library: Path, shared_limit: int = 227 << 10, *, tensor_cores: bool = True, room: int | None = None
    ):
        self.name = "an emulated device"
        self.key = ("emulated", shared_limit, next(NUMBERS))
        self.shared_limit, self.tensor_cores = shared_limit, tensor_cores
        self.launched: list[str] = []
        self.room, self.failures, self.most, self._taken = room, 0, 0, 0
        self._launch = ctypes.CDLL(str(library)).launch
        self._launch.argtypes = [
            ctypes.c_char_p, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint, ctypes.c_size_t, ctypes.c_void_p,
        ]  # fmt: skip

    def describe(self, a):
        assert isinstance(a, OnDevice)
        name = "bfloat16" if a.dtype == BFLOAT16 else a.dtype.name
        return a.ctypes.data, name, a.shape, tuple(stride // a.itemsize for stride in a.strides)

    def address(self, a):
        return a.ctypes.data

    def empty(self, shape, dtype):
        memory = np.full(shape, np.nan if "float" in dtype else 0xA5, dtype=dtype)
        if self.room is not None:
            if self._taken + memory.nbytes > self.room:
                self.failures += 1
                raise OutOfMemoryError
            self._take(memory.nbytes)
            weakref.finalize(memory, self._take, -memory.nbytes)
        return memory.view(OnDevice)

    def _take(self, size):
        self._taken += size
        self.most = max(self.most, self._taken)

    def upload(self, host):
        assert not isinstance(host, OnDevice)
        return host.copy().view(OnDevice)

    def download(self, a):
        assert isinstance(a, OnDevice)
        return a.view(np.ndarray)

    def contiguous(self, a):
        assert isinstance(a, OnDevice)
        return np.ascontiguousarray(a.view(np.ndarray)).view(OnDevice)

    def cast(self, a, dtype):
        assert isinstance(a, OnDevice)
        a = a.view(np.ndarray)
        if a.dtype == BFLOAT16:
            a = (a["bfloat16"].astype(np.uint32) << 16).view(np.float32)
        return a.astype(dtype).view(OnDevice)

    def settle(self):
        pass

    def launch(self, kernel, grid, threads, shared_bytes, arguments):
        assert shared_bytes <= self.shared_limit
        self.launched.append(kernel)
        values = [(ctypes.c_double if isinstance(a, float) else ctypes.c_longlong)(a) for a in arguments]
        packed = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        status = self._launch(kernel.encode(), *grid, threads, shared_bytes, packed)
        faults = {1: "does not exist", 2: "wrote past its shared memory", 3: "has a barrier that not all threads reach"}
        assert status == 0, f"{kernel} {faults[status]}"


class EmulatedTorchDevice(TorchDevice):
    """A TorchDevice with CPU tensors: everything except streams and launches is the package's code."""

    def __init__(self, library: Path):
        import torch

        self.name, self.key = "emulated torch", ("emulated torch", next(NUMBERS))
        self.shared_limit, self.tensor_cores = 227 << 10, True
        self._torch, self._device = torch, torch.device("cpu")
        self._emulated = EmulatedDevice(library)
        self.launched, self.pinned = self._emulated.launched, 0

    def limit(self, room: int):
        """Limits the memory of `empty` to `room` bytes and resets the counters."""
        self._emulated.room, self._emulated.failures, self._emulated.most = room, 0, 0

    @property
    def failures(self) -> int:
        return self._emulated.failures

    @property
    def most(self) -> int:
        return self._emulated.most

    def empty(self, shape, dtype):
        return self._torch.from_numpy(self._emulated.empty(shape, dtype).view(np.ndarray))

    def _pinned(self, tensor):
        self.pinned += 1
        return tensor

    def settle(self):
        pass

    def launch(self, *launch):
        self._emulated.launch(*launch)
