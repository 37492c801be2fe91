"""A function over many tasks on all cores, in spawned processes; a worker that dies costs its task, never the run."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any


class Died:
    """What a task gives whose worker process ended under it: killed for memory, or crashed in a decoder."""


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def each(function: Callable, tasks: Sequence, workers: int | None = None) -> Iterator[tuple[int, Any]]:
    """(index of task, result) as they finish; the result is `Died` where a worker ended without one.

    What `function` raises is raised here. A pool whose worker dies is broken as a whole, so the tasks that were running
    are tried again one by one, each in a process of its own: the one that kills it is found, the others are served.
    """
    workers = max(1, min(workers or available_cores(), len(tasks)))
    waiting = deque(range(len(tasks)))
    while waiting:
        suspects: list[int] = []
        with _pool(workers) as pool:
            running: dict[Future, int] = {}
            try:
                while waiting or running:
                    while waiting and len(running) < workers:
                        index = waiting.popleft()
                        try:
                            running[pool.submit(function, tasks[index])] = index
                        except BrokenProcessPool:
                            waiting.appendleft(index)
                            raise
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in sorted(done, key=running.__getitem__):
                        result = future.result()
                        yield running.pop(future), result
            except BrokenProcessPool:
                suspects = sorted(running.values())
        for index in suspects:
            with _pool(1) as alone:
                try:
                    result = alone.submit(function, tasks[index]).result()
                except BrokenProcessPool:
                    result = Died
            yield index, result


def _pool(workers: int) -> ProcessPoolExecutor:
    # Spawned, not forked: a forked child would share HDF5 handles, locks and threads with its parent.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent)


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work forever."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # it is only called in a worker

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
