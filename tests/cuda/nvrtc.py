"""NVIDIA's run-time compiler from its pip package, without a driver, and the resources its machine code requires."""

from __future__ import annotations

import ctypes
import importlib.util
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple


class Resources(NamedTuple):
    """Resources of a compiled kernel: registers, stack frame and spills (bytes) per thread, shared memory per block."""

    registers: int
    stack: int
    spills: int
    static_shared: int


@cache
def shared_object() -> ctypes.CDLL | None:
    """libnvrtc of the package nvidia-cuda-nvrtc, or None if the package is not installed."""
    spec = importlib.util.find_spec("nvidia")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted(Path(folder).glob("*/lib/libnvrtc.so.*")):
            if "builtins" not in path.name:
                return ctypes.CDLL(str(path))
    return None


def compiled(source: str, architecture: int, options: tuple[str, ...] = ()) -> dict[str, Resources]:
    """Resources of each kernel of `source`, compiled to machine code for sm_`architecture` as CuPy would."""
    nvrtc = shared_object()
    program = ctypes.c_void_p()
    assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"ildfv.cu", 0, None, None) == 0
    added = ("-ftz=true", "--device-as-default-execution-space")  # CuPy always adds these
    flags = (*options, *added, f"-arch=sm_{architecture}", "--ptxas-options=-v")
    array = (ctypes.c_char_p * len(flags))(*(flag.encode() for flag in flags))
    status = nvrtc.nvrtcCompileProgram(program, len(flags), array)
    log = _text(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog, program)
    assert status == 0, log
    machine_code = _text(nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN, program, binary=True)
    assert machine_code.startswith(b"\x7fELF")
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return _report(log)


def _report(log: str) -> dict[str, Resources]:
    """Parses ptxas's verbose output."""
    kernels = {}
    for part in re.split(r"Compiling entry function '", log)[1:]:
        stack, stores, loads = re.search(
            r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", part
        ).groups()
        shared = re.search(r"(\d+) bytes smem", part)
        kernels[part[: part.index("'")]] = Resources(
            registers=int(re.search(r"Used (\d+) registers", part)[1]),
            stack=int(stack),
            spills=int(stores) + int(loads),
            static_shared=int(shared[1]) if shared else 0,
        )
    return kernels


def _text(size_of, get, program, binary=False):
    size = ctypes.c_size_t()
    assert size_of(program, ctypes.byref(size)) == 0
    buffer = ctypes.create_string_buffer(size.value)
    assert get(program, buffer) == 0
    return buffer.raw if binary else buffer.value.decode()
