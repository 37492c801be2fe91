"""Items computed in a thread before the consumer requests them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from typing import TypeVar

DEPTH = 2  # maximum number of items computed in advance
Item = TypeVar("Item")


def prefetch(items: Iterable[Item], depth: int = DEPTH) -> Generator[Item, None, None]:
    """The items in order, computed in a separate thread, up to `depth` items in advance.

    If the computation of an item raises an exception, it is raised when the item is requested. If the consumer stops
    early, the thread ends.
    """
    done = object()
    items_ready: queue.Queue = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def put(item) -> bool:
        while not stopped.is_set():
            try:
                items_ready.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for item in items:
                if not put((item, None)):
                    return
            put((done, None))
        except BaseException as error:
            put((done, error))

    thread = threading.Thread(target=work, daemon=True, name="ildfv-prefetch")
    thread.start()
    try:
        while True:
            item, error = items_ready.get()
            if error is not None:
                raise error
            if item is done:
                return
            yield item
    finally:
        stopped.set()  # no join: the garbage collector may run this in a thread that holds a lock, and join would block
