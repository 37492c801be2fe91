"""The C++ under AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ildfv.kernels import cpu

ALL, CASES, ELEMENTS = ("avx512", "avx2", "baseline"), 19, 5
HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "csrc"


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++") or sys.platform != "linux", reason="needs g++ with sanitisers on Linux")
def test_no_invalid_access_and_no_undefined_behaviour(tmp_path):
    command = [
        *("g++", "-O1", "-g", "-std=c++17", "-fopenmp", "-fno-math-errno", "-ffp-contract=fast"),
        *("-fsanitize=address,undefined", "-fno-sanitize-recover=all", f"-I{SOURCES}"),
        *map(str, sorted((SOURCES / "cpu").glob("*.cpp"))),
        *(str(HERE / "moments_sanitised.cpp"), "-o", str(tmp_path / "moments")),
    ]
    subprocess.run(command, check=True)
    done = subprocess.run(
        [tmp_path / "moments"], capture_output=True, text=True, env={"ASAN_OPTIONS": "detect_leaks=1"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    *instruction_sets, runs = done.stdout.split()
    assert instruction_sets == [name for name in ALL if cpu._native.instruction_set(name)]
    assert int(runs) == len(instruction_sets) * CASES * ELEMENTS * 2  # with 1 thread and 3
