"""A function applied to many items in spawned processes. If a worker process crashes, only its current item is lost."""

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
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from ildfv.kernels.cores import available_cores


class Died:
    """The result of an item whose worker process died, for example because memory ran out or a decoder crashed."""


def as_completed(function: Callable, items: Sequence, workers: int | None = None) -> Iterator[tuple[int, Any]]:
    """Pairs (index of the item, function(item)) in the order of completion; `Died` if the worker died.

    workers: number of processes; None: one per available core. An exception in `function` is raised here. When a worker
    dies, the executor breaks and loses all running items. These are retried one at a time, each in its own process, so
    that only an item that kills its worker again gives `Died`.
    """
    workers = max(1, min(workers or available_cores(), len(items)))
    waiting = deque(range(len(items)))
    while waiting:
        suspects: list[int] = []
        with _executor_or_kept(workers) as executor:
            running: dict[Future, int] = {}
            try:
                while waiting or running:
                    while waiting and len(running) < workers:
                        index = waiting.popleft()
                        try:
                            running[_submit(executor, function, items[index])] = index
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
            with _executor(1) as executor:
                try:
                    result = _submit(executor, function, items[index]).result()
                except BrokenProcessPool:
                    result = Died
            yield index, result


@dataclass
class _Kept:
    workers: int
    executor: ProcessPoolExecutor | None = None


_kept: ContextVar[_Kept | None] = ContextVar("_kept", default=None)


@contextmanager
def kept_workers(workers: int | None = None) -> Iterator[None]:
    """Context manager: all calls of `as_completed` in the block use the same processes, which are started once.

    workers: the largest number of processes; None: one per available core. They are started when they are needed.
    """
    kept = _Kept(workers or available_cores())
    token = _kept.set(kept)
    try:
        yield
    finally:
        _kept.reset(token)
        if kept.executor is not None:
            kept.executor.shutdown(cancel_futures=True)


@contextmanager
def _executor_or_kept(workers: int) -> Iterator[ProcessPoolExecutor]:
    """The executor of `kept_workers`, which is replaced if it breaks; outside such a block, a new one."""
    kept = _kept.get()
    if kept is None:
        with _executor(workers) as executor:
            yield executor
        return
    executor = kept.executor = kept.executor or _new_executor(kept.workers)
    usable = False
    try:
        yield executor
        usable = not executor._broken
    except BaseException:
        _kill(executor)
        raise
    finally:
        if not usable:
            executor.shutdown(cancel_futures=True)
            if kept.executor is executor:
                kept.executor = None


@contextmanager
def _executor(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Context manager with an executor; an exception or Ctrl-C in the block kills its workers immediately."""
    executor = _new_executor(workers)
    try:
        yield executor
    except BaseException:
        _kill(executor)
        raise
    finally:
        executor.shutdown(cancel_futures=True)


def _new_executor(workers: int) -> ProcessPoolExecutor:
    # Spawned, not forked: a forked child would share HDF5 handles, locks and threads with its parent.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_exit_with_parent)


def _kill(executor: ProcessPoolExecutor) -> None:
    for process in list((executor._processes or {}).values()):
        process.kill()  # safe: all files are written atomically


def _submit(executor: ProcessPoolExecutor, function: Callable, item: Any) -> Future:
    """executor.submit with deferred signals: it may start workers, and a partly started executor cannot be stopped."""
    with _signals_deferred():
        return executor.submit(function, item)


@contextmanager
def _signals_deferred() -> Iterator[None]:
    """Context manager that defers SIGINT and SIGTERM to the end of the block. Processes started in it ignore SIGINT.

    Ctrl-C sends SIGINT to all processes of a terminal, but only the parent should handle it.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread handles signals
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    received: list[int] = []
    # Blocking the signals is not enough: if another thread receives one, Python still runs its handler in this thread.
    handlers = [signal.signal(number, lambda number, _: received.append(number)) for number in numbers]
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for arrived in received:
            signal.raise_signal(arrived)


def _exit_with_parent() -> None:
    """Makes this worker process exit if its parent is killed; otherwise it would wait for work forever."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    parent = multiprocessing.parent_process()
    assert parent is not None  # only called in a worker

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
