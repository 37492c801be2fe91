"""The emulation itself detects faults that only a GPU would show otherwise."""

import subprocess

import pytest
from emulation import FLAGS, ROOT, compiler

STUCK = """
#include "emulation.h"
void kernel(int* reaching) {
    if (threadIdx.x < (unsigned)*reaching) __syncthreads();
}
int main() {
    int all = 64, some = 63, *each[] = {&all, &some};
    int found = 0;
    for (int i = 0; i < 2; ++i) {
        void* arguments[] = {&each[i]};
        found = 10 * found + emulation::run(kernel, {1, 1, 1}, 64, 0, arguments);
    }
    return found;
}
"""


@pytest.mark.slow
def test_a_barrier_that_not_all_threads_reach_is_detected(tmp_path):
    (tmp_path / "stuck.cpp").write_text(STUCK, encoding="utf-8")
    flags = [flag for flag in FLAGS if flag != "-shared"]
    command = [compiler(), *flags, "-I", str(ROOT / "tests" / "cuda"), str(tmp_path / "stuck.cpp")]
    subprocess.run([*command, "-o", str(tmp_path / "stuck")], check=True)
    assert subprocess.run([str(tmp_path / "stuck")]).returncode == 3  # 0 if all threads reach it, 3 if one does not
