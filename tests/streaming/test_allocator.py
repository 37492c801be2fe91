"""Freed memory is used again without page faults inside `freed_memory_kept`, and returned at its end."""

import json
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs the allocator of glibc")

# In a process of its own, because earlier tests leave free memory in the heap.
SCRIPT = """
import json, resource, torch
from ildfv.streaming.allocator import freed_memory_kept

def faults(times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.empty(PAGES * 4096, dtype=torch.uint8).fill_(1)  # otherwise NumPy requests huge pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20

PAGES = 10240  # of an array of 40 MB
faults(1)  # the first call also faults in the code of torch
found = {"by default": faults(5) / (5 * PAGES), "resident before": resident_mb()}
with freed_memory_kept():
    with freed_memory_kept():
        faults(16)  # glibc cannot use the first aligned arrays again, until its cache of small blocks is full
    found["nested"] = faults(5) / (5 * PAGES)
found["resident after"] = resident_mb()
print(json.dumps(found))
"""


def test_freed_memory_is_used_again_also_if_nested_and_returned_at_the_end():
    ended = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    found = json.loads(ended.stdout)  # faults per page
    if found["by default"] < 0.5:
        pytest.skip("this system gives large arrays huge pages or does not return them")
    assert found["nested"] < 0.05
    assert found["resident after"] < found["resident before"] + 32
