"""The kernels under the compiler's sanitizers, which detect missing barriers (as races) and out-of-bounds accesses."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FILES = ("emulated", "tensor_cores", "windows", "estimators", "weights", "contributions")
# These reach every kernel.
CHOSEN = (
    "(every_variant and float32 and not tensor) or ragged_maps_give or (single and 300-33) or small_problems "
    "or posteriors_in_device_memory or pooling_of_non_contiguous "
    "or volumes or (vectors_agree and 3-5-70 and True-component-True) or (m_step_gives and 5-70-70.5)"
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("library", "flags"),
    [("libtsan.so", "-fsanitize=thread -DILDFV_OS_THREADS"), ("libasan.so", "-fsanitize=address,undefined")],
    ids=["races", "bounds"],
)
def test_the_sanitizers_report_no_error_in_the_kernels(library, flags):
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None:
        pytest.skip("needs a C++20 compiler")
    question = [compiler, f"-print-file-name={library}"]
    found = Path(subprocess.run(question, capture_output=True, text=True, check=True).stdout.strip())
    if not found.is_absolute():
        pytest.skip(f"needs {library}")
    environment = {
        **os.environ,
        "ILDFV_EMULATION_FLAGS": f"{flags} -O1",
        "LD_PRELOAD": str(found),  # needed because Python itself is not built with the sanitizer
        "TSAN_OPTIONS": "ignore_noninstrumented_modules=1 exitcode=66",
        "ASAN_OPTIONS": "detect_leaks=0 detect_stack_use_after_return=0 exitcode=67",
        "UBSAN_OPTIONS": "halt_on_error=1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    here = Path(__file__).parent
    files = [str(here / f"test_cuda_{name}.py") for name in FILES]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", CHOSEN, *files]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=here.parents[1])
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert "18 passed" in done.stdout
