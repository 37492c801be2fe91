"""Every kernel compiles for every architecture, keeps to its registers and spills nothing. Needs no GPU."""

import re
from pathlib import Path

import nvrtc
import pytest

from ildfv.kernels import launches, modules

MOMENTS = (Path(__file__).parents[2] / "csrc" / "cuda" / "moments.cu").read_text(encoding="utf-8")
KERNELS = set(re.findall(r"DO\((\w+)\)", MOMENTS))
REGISTERS = 65536  # of a multiprocessor, on every architecture since sm_50


@pytest.mark.parametrize(
    ("architecture", "part"),
    [(75, None), (80, None), (90, 32), (90, 64), (90, 19), (100, None)],
    ids=lambda value: str(value),
)
def test_kernels_compile_without_spills(architecture, part):
    if nvrtc.library() is None:
        pytest.skip("needs NVRTC: pip install nvidia-cuda-nvrtc")
    define = () if part is None else (f"-DILDFV_PART={part}",)
    kernels = nvrtc.compiled(modules.source(), architecture, (*modules.OPTIONS, *define))
    assert set(kernels) == {name for name in KERNELS if part in (None, modules.part_of(name))}
    for name, needs in kernels.items():
        assert needs.spills == 0, name
        assert needs.stack == 0, name
        assert needs.static_shared == 0, f"{name}: shared memory is counted in launches.py, all of it"
        threads = launches.FINISH_THREADS if name.startswith("finish") else launches.THREADS
        blocks = (3 if modules.part_of(name) == 32 else 2) if "moments" in name else 4  # __launch_bounds__ of moments.cu
        assert needs.registers * threads * blocks <= REGISTERS, f"{name}: {needs.registers} registers"


def test_the_source_stands_alone():
    assert '#include "' not in modules.source()
    assert modules.source().count("enum Element") == 1
