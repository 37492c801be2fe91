"""Every kernel compiles for every architecture within its register limit and without spills. No GPU is needed."""

import re
from pathlib import Path

import nvrtc
import pytest

from ildfv.kernels.cuda import build, launches

FOLDER = Path(__file__).parents[2] / "csrc" / "cuda"
SOURCES = [path for path in sorted(FOLDER.glob("*.cu")) if path.name != "launch.cu"]
KERNELS = {name for path in SOURCES for name in re.findall(r"DO\((\w+)\)", path.read_text(encoding="utf-8"))}
REGISTERS = 65536  # registers of a multiprocessor on every architecture since sm_50
PARTS = [("moments", architecture, None) for architecture in (75, 80, 100)]
PARTS += [("moments", 90, part) for part in (32, 64, 19)]
PARTS += [
    (name, architecture, None)
    for name in ("windows", "fisher", "em", "contributions")
    for architecture in (75, 80, 90, 100)
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "architecture", "part"), PARTS)
def test_kernels_compile_without_spills(name, architecture, part):
    """part: the value of ILDFV_PART for moments.cu, or None for the whole file."""
    if nvrtc.shared_object() is None:
        pytest.skip("needs NVRTC: pip install nvidia-cuda-nvrtc")
    file = f"cuda/{name}.cu"
    kernels = nvrtc.compiled(
        build.source(file), architecture, (*build.NVRTC_OPTIONS, *((f"-DILDFV_PART={part}",) if part else ()))
    )
    homes = {kernel: build.source_of(kernel) for kernel in KERNELS}
    assert set(kernels) == {k for k, home in homes.items() if home[0] == file and part in (None, home[1])}
    for kernel, needs in kernels.items():
        assert needs.spills == 0, kernel
        assert needs.stack == 0, kernel
        assert needs.static_shared == 0, f"{kernel}: all shared memory must be computed by the launchers"
        tiled = "moments" in kernel or "contributions" in kernel
        threads = launches.THREADS if tiled or "singles" in kernel else launches.FINISH_THREADS
        three = "float32" in kernel and "tensor" not in kernel and "huge" not in kernel
        blocks = (3 if three else 2) if tiled else 4  # the numbers in the launch bounds of the sources
        if tiled and architecture < 80:
            blocks = 1
        assert needs.registers * threads * blocks <= REGISTERS, f"{kernel}: {needs.registers} registers"


def test_every_kernel_is_launched_by_nvcc_and_emulated():
    for path in (FOLDER / "launch.cu", Path(__file__).parent / "emulated.cpp"):
        text = path.read_text(encoding="utf-8")
        assert all(f'#include "cuda/{source.name}"' in text for source in SOURCES)
        for lists in (re.findall(r"#define (ILDFV_\w*KERNELS)\(DO\)", source.read_text()) for source in SOURCES):
            assert len(lists) == 1
            assert f"    {lists[0]}(" in text


def test_the_source_has_all_headers_inlined():
    assert '#include "' not in build.source()
    assert build.source().count("enum Element") == 1
