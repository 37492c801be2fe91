"""A function applied to many items in threads, with results in order.

Threads suffice because all long operations (HDF5, torch, the kernels, hashing, fsync) release the GIL.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ildfv.kernels import cpu
from ildfv.streaming.allocator import trim_memory

Item = TypeVar("Item")
Result = TypeVar("Result")
TRIM_INTERVAL = 64  # items after which freed memory is returned to the system
MAX_WORKERS = 8  # more would wait for the GIL, and each holds a batch in memory


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int, threads: int | None = None
) -> Generator[Result, None, None]:
    """function(item) of each item, in order, computed by `workers` threads a few items in advance.

    threads: OpenMP threads of each worker; None: the default of the process. `items` is iterated in the calling thread.
    If `function` raises an exception, it is raised when its result is requested. If the consumer stops early, items
    that have not started are cancelled, and running ones are not waited for.
    """
    pending: deque = deque()
    limit = (lambda: _limit_openmp(threads)) if threads is not None else None
    executor = ThreadPoolExecutor(workers, thread_name_prefix="ildfv", initializer=limit)
    wait = True
    try:
        for number, item in enumerate(items):
            pending.append(executor.submit(function, item))
            if len(pending) >= 2 * workers:
                yield pending.popleft().result()
            if number % TRIM_INTERVAL == TRIM_INTERVAL - 1:
                trim_memory()
        while pending:
            yield pending.popleft().result()
    except GeneratorExit:
        wait = False  # the garbage collector may run this in a thread that holds a lock: waiting could deadlock
        raise
    finally:
        executor.shutdown(wait=wait, cancel_futures=True)
    trim_memory()


def split_cores() -> tuple[int, int]:
    """(workers, OpenMP threads per worker), together at most `cpu.num_threads()` threads.

    There are as many workers as possible, up to `MAX_WORKERS`, because parallel batches scale better than threads that
    share a batch.
    """
    cores = cpu.num_threads()
    workers = min(cores, MAX_WORKERS)
    return workers, max(1, cores // workers)


def _limit_openmp(threads: int) -> None:
    """Limits the OpenMP threads that this thread may start, in torch and in the kernels."""
    from threadpoolctl import ThreadpoolController

    if "torch" in sys.modules:
        sys.modules["torch"].get_num_threads()  # initialises torch's threads, which would later undo the limit
    ThreadpoolController().select(user_api="openmp").limit(limits=threads)  # OpenMP keeps the limit per thread
    cpu.limit_calling_thread(threads)
