"""A function over many tasks on all cores, in spawned processes; a worker that dies costs its task, never the run."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
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
                            running[_submit(pool, function, tasks[index])] = index
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
                    result = _submit(alone, function, tasks[index]).result()
                except BrokenProcessPool:
                    result = Died
            yield index, result


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool whose workers are ended at once where an error or Ctrl-C ends the block."""
    # Spawned, not forked: a forked child would share HDF5 handles, locks and threads with its parent.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent)
    try:
        yield pool
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.kill()  # whatever it writes is there whole or not at all
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _submit(pool: ProcessPoolExecutor, function: Callable, task: Any) -> Future:
    """As `pool.submit`, which may start workers: a pool half begun cannot be ended, so that signals wait meanwhile."""
    with _signals_wait():
        return pool.submit(function, task)


@contextmanager
def _signals_wait() -> Iterator[None]:
    """SIGINT and SIGTERM are heard when the block has ended. Processes that it starts never hear the first.

    Ctrl-C, which reaches all processes of a terminal, is their parent's alone.
    """
    if threading.current_thread() is not threading.main_thread():  # only that one hears signals
        yield
        return
    numbers, received = (signal.SIGINT, signal.SIGTERM), []
    # Kept from this thread, another one takes a signal, for this one to handle: both have to be told.
    handlers = [signal.signal(number, lambda number, _: received.append(number)) for number in numbers]
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for heard in received:
            signal.raise_signal(heard)


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work forever."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    parent = multiprocessing.parent_process()
    assert parent is not None  # it is only called in a worker

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
