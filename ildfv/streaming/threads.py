"""Work done side by side in threads, its results taken in order: what overlaps reading, computing and writing.

Threads suffice, as all that takes long (HDF5, torch, the kernels, hashes, fsync) lets go of Python's lock.
"""

from __future__ import annotations

import ctypes
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ildfv.kernels import cpu

Item = TypeVar("Item")
Result = TypeVar("Result")
OFTEN = 64  # items between two times that freed memory is given back
MOST = 8  # workers: more of them wait for Python's lock, and each holds a batch


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], *, workers: int, threads: int | None = None
) -> Generator[Result, None, None]:
    """work(item) of each item, in order, computed by `workers` threads a little ahead of whoever takes the results.

    threads: OpenMP threads of each worker, None for as many as a process has. Items are drawn here, not in the workers.
    An error is raised in its place; leaving early cancels what has not begun, and waits for nothing.
    """
    waiting: deque = deque()
    limit = (lambda: _limit(threads)) if threads is not None else None
    pool = ThreadPoolExecutor(workers, thread_name_prefix="ildfv", initializer=limit)
    wait = True
    try:
        for number, item in enumerate(items):
            waiting.append(pool.submit(work, item))
            if len(waiting) >= 2 * workers:
                yield waiting.popleft().result()
            if number % OFTEN == OFTEN - 1:
                _return_memory()
        while waiting:
            yield waiting.popleft().result()
    except GeneratorExit:
        wait = False  # this may be the garbage collector, in any thread that holds any lock: to wait may be for ever
        raise
    finally:
        pool.shutdown(wait=wait, cancel_futures=True)
    _return_memory()


def split_cores() -> tuple[int, int]:
    """(workers, threads of each) that keep all cores busy: whole batches side by side share less than parts of one."""
    cores = cpu.num_threads()
    workers = min(cores, MOST)
    return workers, max(1, cores // workers)


def _return_memory() -> None:
    """Gives the system what the workers freed: glibc keeps it, some 100 MB by thread, beside all that comes next."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


def _limit(threads: int) -> None:
    """The number of OpenMP threads that this thread may start, in torch and in the kernels."""
    from threadpoolctl import ThreadpoolController  # here, as a machine that only trains may lack it

    if "torch" in sys.modules:
        sys.modules["torch"].get_num_threads()  # sets up torch's threads for this one: it would undo the limit later
    ThreadpoolController().select(user_api="openmp").limit(limits=threads)  # OpenMP keeps it for the calling thread
    cpu.limit_calling_thread(threads)
