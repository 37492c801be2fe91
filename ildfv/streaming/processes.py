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
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from multiprocessing.context import SpawnContext
from multiprocessing.process import BaseProcess
from typing import Any

from ildfv.errors import check
from ildfv.kernels.cores import available_cores


class Died:
    """The result of an item whose worker process died, for example because memory ran out or a decoder crashed."""


def as_completed(function: Callable, items: Sequence, workers: int | None = None) -> Iterator[tuple[int, Any]]:
    """Pairs (index of the item, function(item)) in the order of completion; `Died` if the worker died.

    workers: number of processes; None: one per available core. An exception in `function` is raised here. When a worker
    dies, the executor breaks and loses all running items. These are retried one at a time, each in its own process, so
    that only an item that kills its worker again gives `Died`. InputError: no process can be started.
    """
    workers = max(1, min(workers or available_cores(), len(items)))
    waiting = deque(range(len(items)))
    while waiting:
        running: dict[Future, int] = {}
        suspects: list[int] = []
        try:
            with _executor_or_kept(workers) as executor:
                while waiting or running:
                    while waiting and len(running) < workers:
                        index = waiting.popleft()
                        try:
                            running[executor.submit(function, items[index])] = index
                        except BrokenProcessPool:
                            waiting.appendleft(index)
                            raise
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in sorted(done, key=running.__getitem__):
                        result = future.result()
                        yield running.pop(future), result
        except BrokenProcessPool:
            _check_start()
            suspects = sorted(running.values())
        for index in suspects:
            yield index, _alone(function, items[index])


def _alone(function: Callable, item: Any) -> Any:
    """function(item), computed by a new process; `Died` if the process died."""
    try:
        with _Executor(1) as executor:
            return executor.submit(function, item).result()
    except BrokenProcessPool:
        return Died


def _check_start() -> None:
    """Raises InputError if a new process ends before it calls a function, so that retries would never end."""
    check(
        _alone(abs, 0) is not Died,
        "worker processes must be able to start, got processes that end at once: in a script, put calls under `if "
        '__name__ == "__main__":`, because each worker imports the script',
    )


class _Context(SpawnContext):
    """A context that spawns processes and lists them in `started`."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[BaseProcess] = []

    def Process(self, *args: Any, **options: Any) -> BaseProcess:  # type: ignore[override]
        process = super().Process(*args, **options)
        self.started.append(process)
        return process


class _Executor(ProcessPoolExecutor):
    """An executor whose workers are spawned. An exception or Ctrl-C in its `with` block kills them immediately."""

    def __init__(self, workers: int) -> None:
        # Spawned, not forked: a forked child would share HDF5 handles, locks and threads with its parent.
        self._context = _Context()
        super().__init__(workers, mp_context=self._context, initializer=_exit_with_parent)

    def submit(self, function: Callable, /, *args: Any, **options: Any) -> Future:
        """Submits a call. Signals are deferred: it may start workers, and a partly started pool cannot be stopped."""
        with _signals_deferred():
            return super().submit(function, *args, **options)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            for process in self._context.started:
                if process.pid is not None:
                    process.kill()  # safe: all files are written atomically
        self.shutdown(cancel_futures=True)


@dataclass
class _Kept:
    workers: int
    executor: _Executor | None = None


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
def _executor_or_kept(workers: int) -> Iterator[_Executor]:
    """The executor of `kept_workers`, which an exception removes; outside such a block, a new one."""
    kept = _kept.get()
    executor = _Executor(workers) if kept is None else kept.executor or _Executor(kept.workers)
    if kept is not None:
        kept.executor = executor
    with ExitStack() as stack:
        stack.push(executor)
        try:
            yield executor
        except BaseException:
            if kept is not None and kept.executor is executor:
                kept.executor = None
            raise
        if kept is not None:
            stack.pop_all()  # the next call uses the executor


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
