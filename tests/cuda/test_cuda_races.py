"""The kernels under ThreadSanitizer: a barrier that is missing is a race it reports."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# All of test_cuda_emulated.py passes too, in some minutes. These reach every kernel.
CHOSEN = "(every_variant and float32) or ragged or (single_descriptors and 300-33)"


def test_no_kernel_has_a_race():
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    found = (
        compiler
        and subprocess.run(
            [compiler, "-print-file-name=libtsan.so"], capture_output=True, text=True, check=True
        ).stdout.strip()
    )
    if not found or not Path(found).is_absolute():
        pytest.skip("needs a compiler with ThreadSanitizer")
    environment = {
        **os.environ,
        "ILDFV_EMULATION_FLAGS": "-fsanitize=thread -O1",
        "LD_PRELOAD": found,
        "TSAN_OPTIONS": "ignore_noninstrumented_modules=1 exitcode=66",
        "OPENBLAS_NUM_THREADS": "1",
    }
    tests = Path(__file__).with_name("test_cuda_emulated.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", CHOSEN, str(tests)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tests.parents[2])
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert "8 passed" in done.stdout
