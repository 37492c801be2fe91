"""Compilation of kernels by NVRTC, with a stub of CuPy."""

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from ildfv.kernels.cuda import build

LIMIT = 99 << 10


class Kernel:
    """A stub of RawKernel that records its launches and the limit set on its shared memory."""

    def __init__(self):
        self.limits, self.launches = [], []

    @property
    def max_dynamic_shared_size_bytes(self):
        return self.limits[-1] if self.limits else 48 << 10

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, size):
        self.limits.append(size)

    def __call__(self, grid, threads, arguments, *, shared_mem, stream):
        assert shared_mem <= self.max_dynamic_shared_size_bytes
        self.launches.append((shared_mem, arguments))


@pytest.fixture
def compiled(monkeypatch):
    """The kernels of the modules that were compiled, one dictionary for each."""
    compiled = []

    class RawModule:
        def __init__(self, code, options):
            time.sleep(0.01)  # long enough for another thread to request the same module
            self.kernels = {}
            compiled.append(self.kernels)

        def get_function(self, name):
            return self.kernels.setdefault(name, Kernel())

    class Device(nullcontext):
        def __init__(self, index):
            super().__init__()
            self.attributes = {"MaxSharedMemoryPerBlockOptin": LIMIT}

    cupy = SimpleNamespace(RawModule=RawModule, cuda=SimpleNamespace(Device=Device))
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    return compiled


def test_threads_compile_a_module_once_and_set_the_limit_of_a_kernel_once(compiled):
    kernels, ready = build.NvrtcKernels(0), threading.Barrier(4)

    def launch(size):
        ready.wait()
        kernels.launch("moments_wide_float32", (1, 1), 128, size, (1, 0.5), 0)

    with ThreadPoolExecutor(4) as executor:
        list(executor.map(launch, [60 << 10, 90 << 10, 1 << 10, LIMIT]))
    ((kernel,),) = (one.values() for one in compiled)
    assert kernel.limits == [LIMIT]
    assert sorted(size for size, _ in kernel.launches) == [1 << 10, 60 << 10, 90 << 10, LIMIT]
    assert [type(a).__name__ for a in kernel.launches[0][1]] == ["int64", "float64"]
