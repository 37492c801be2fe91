"""Freed memory is used again without page faults inside `freed_memory_kept`, and returned at its end."""

import platform
import resource

import pytest
import torch

from ildfv.streaming.allocator import freed_memory_kept, trim_memory

PAGES = 10240  # of an array of 40 MB
WARM_UP = 16  # glibc cannot use the first aligned arrays again, until its cache of small blocks is full
pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs the allocator of glibc")


def faults(times):
    """Page faults of writing to a new array so many times."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.empty(PAGES * 4096, dtype=torch.uint8).fill_(1)  # otherwise NumPy requests huge pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def test_freed_memory_is_used_again():
    with freed_memory_kept():
        faults(WARM_UP)
        assert faults(5) < PAGES / 4
    trim_memory()
    assert faults(5) > PAGES


def test_memory_is_returned_at_the_end_also_if_nested():
    before = resident_mb()
    with freed_memory_kept():
        with freed_memory_kept():
            faults(WARM_UP)
        assert faults(5) < PAGES / 4
    assert resident_mb() < before + 32
