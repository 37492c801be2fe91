"""Every kernel compiles for every architecture, keeps to its registers and spills nothing. Needs no GPU."""

import re
from pathlib import Path

import nvrtc
import pytest

from ildfv.kernels import launches, modules

SOURCES = [Path(__file__).parents[2] / "csrc" / "cuda" / f"{name}.cu" for name in ("moments", "windows")]
KERNELS = {name for path in SOURCES for name in re.findall(r"DO\((\w+)\)", path.read_text(encoding="utf-8"))}
REGISTERS = 65536  # of a multiprocessor, on every architecture since sm_50


@pytest.mark.parametrize(
    ("architecture", "part"),
    [(75, None), (80, None), (90, 32), (90, 64), (90, 19), (100, None), (75, 0), (80, 0), (90, 0), (100, 0)],
    ids=lambda value: str(value),
)
def test_kernels_compile_without_spills(architecture, part):
    """part: ILDFV_PART of moments.cu, None for all of it; 0 for windows.cu."""
    if nvrtc.shared_object() is None:
        pytest.skip("needs NVRTC: pip install nvidia-cuda-nvrtc")
    define = (f"-DILDFV_PART={part}",) if part else ()
    source = modules.source("cuda/windows.cu") if part == 0 else modules.source()
    kernels = nvrtc.compiled(source, architecture, (*modules.OPTIONS, *define))
    in_file = {name for name in KERNELS if (modules.part_of(name) == 0) == (part == 0)}
    assert set(kernels) == {name for name in in_file if part in (None, modules.part_of(name))}
    for name, needs in kernels.items():
        assert needs.spills == 0, name
        assert needs.stack == 0, name
        assert needs.static_shared == 0, f"{name}: shared memory is counted in launches.py, all of it"
        threads = launches.THREADS if "moments" in name or "singles" in name else launches.FINISH_THREADS
        blocks = (3 if modules.part_of(name) == 32 else 2) if "moments" in name else 4  # as in moments.cu
        assert needs.registers * threads * blocks <= REGISTERS, f"{name}: {needs.registers} registers"


def test_the_source_stands_alone():
    assert '#include "' not in modules.source()
    assert modules.source().count("enum Element") == 1
