"""Control of the freed memory that the C library keeps for later use. With C libraries other than glibc, no effect.

By default, glibc returns large freed arrays at once, and the system clears every page of the next ones: a training step
of CNN-F on a CPU spends a fifth of its time on 80,000 page faults.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4  # malloc.h
LARGEST = 32 << 20  # bytes; the highest M_MMAP_THRESHOLD that glibc chooses itself. Its M_TRIM_THRESHOLD is twice that
KEPT = (1 << 31) - 1  # bytes; the highest possible M_TRIM_THRESHOLD. glibc does not keep more freed memory than this
MAPPINGS = 65536  # glibc's default of M_MMAP_MAX
_lock, _users = threading.Lock(), 0


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Context manager: memory freed in the block is kept for later arrays, and is returned to the system at its end."""
    global _users
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        yield
        return
    with _lock:
        _users += 1
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT)
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                libc.mallopt(M_MMAP_MAX, MAPPINGS)
                libc.mallopt(M_MMAP_THRESHOLD, LARGEST)
                libc.mallopt(M_TRIM_THRESHOLD, 2 * LARGEST)
                trim_memory()


def trim_memory() -> None:
    """Returns freed memory to the system. glibc would keep about 100 MB per thread."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
