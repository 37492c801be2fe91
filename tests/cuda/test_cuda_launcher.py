"""launch.cu around a stub of the CUDA runtime: errors are reported once, and attributes are set once."""

import ctypes
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from emulation import FLAGS, ROOT, compiler

OUT_OF_MEMORY = 2
LARGE, SMALL = 100 << 10, 1 << 10  # bytes of shared memory, above and below the default limit of 48 KB
SHARED_LIMIT = 163 << 10  # bytes that the stub allows


@pytest.fixture(scope="module")
def shared_object(tmp_path_factory):
    target = tmp_path_factory.mktemp("launcher") / "launcher.so"
    here = ROOT / "tests" / "cuda"
    includes = [f"-I{path}" for path in (ROOT / "csrc", here, here / "stub_runtime")]
    source = ["-include", "emulation.h", "-x", "c++", str(ROOT / "csrc" / "cuda" / "launch.cu")]
    subprocess.run([compiler(), *FLAGS, "-O0", *includes, *source, "-o", str(target)], check=True)
    return target


class Launcher:
    """The functions of launch.cu, and those of the stub."""

    def __init__(self, shared_object):
        self.loaded = ctypes.CDLL(str(shared_object))
        self.loaded.stub_calls.restype = ctypes.c_char_p
        self.loaded.ildfv_cuda_launch.argtypes = [
            ctypes.c_int, ctypes.c_char_p, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint, ctypes.c_size_t,
            ctypes.c_void_p, ctypes.c_void_p,
        ]  # fmt: skip
        self.fail("", 0)
        self.loaded.stub_leave_error(0)
        self.loaded.stub_forget_calls()

    def launch(self, shared_bytes=SMALL, device=0, kernel="moments_wide_float32"):
        return self.loaded.ildfv_cuda_launch(device, kernel.encode(), 1, 1, 128, shared_bytes, None, None)

    def fail(self, call, error=OUT_OF_MEMORY):
        self.loaded.stub_fail(call.encode(), error)

    @property
    def calls(self):
        return self.loaded.stub_calls().decode().splitlines()


@pytest.fixture
def launcher(shared_object):
    return Launcher(shared_object)


@pytest.mark.parametrize("call", ["cudaLaunchKernel", "cudaGetDevice"])
def test_a_failed_launch_does_not_fail_the_next_one(launcher, call):
    launcher.fail(call)
    assert launcher.launch() == OUT_OF_MEMORY
    assert launcher.loaded.stub_last_error() == 0
    launcher.fail("")
    assert launcher.launch() == 0


@pytest.mark.parametrize(("call", "device"), [("cudaFuncSetAttribute", 0), ("cudaDeviceGetAttribute", 1)])
def test_a_limit_that_could_not_be_raised_is_raised_by_the_next_launch(launcher, call, device):
    launcher.fail(call)
    assert launcher.launch(LARGE, device) == OUT_OF_MEMORY
    assert launcher.loaded.stub_last_error() == 0
    launcher.fail("")
    launcher.loaded.stub_forget_calls()
    assert launcher.launch(LARGE, device) == 0
    assert f"cudaFuncSetAttribute {SHARED_LIMIT}" in launcher.calls


def test_an_error_of_other_code_is_neither_reported_nor_cleared(launcher):
    launcher.loaded.stub_leave_error(77)
    assert launcher.launch() == 0
    assert launcher.loaded.stub_last_error() == 77


@pytest.mark.parametrize("name", ["ildfv_cuda_shared_limit", "ildfv_cuda_capability"])
def test_failed_queries_leave_no_error(launcher, name):
    launcher.fail("cudaDeviceGetAttribute")
    assert getattr(launcher.loaded, name)(0) == -OUT_OF_MEMORY
    assert launcher.loaded.stub_last_error() == 0


def test_threads_raise_the_limit_of_a_kernel_once_to_the_devices_limit(launcher):
    sizes = [LARGE - 1024 * (i % 4) for i in range(64)]
    with ThreadPoolExecutor(4) as executor:
        found = list(executor.map(lambda size: launcher.launch(size, kernel="moments_huge_float64"), sizes))
    assert found == [0] * 64
    assert [call for call in launcher.calls if "Attribute " in call] == [f"cudaFuncSetAttribute {SHARED_LIMIT}"]


def test_the_current_device_is_restored(launcher):
    assert launcher.launch(device=3) == 0
    launcher.fail("cudaLaunchKernel")
    assert launcher.launch(device=3) == OUT_OF_MEMORY
    assert [call for call in launcher.calls if "Set" in call] == ["cudaSetDevice 3", "cudaSetDevice 0"] * 2
