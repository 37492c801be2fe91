"""Items computed in a thread before they are asked for."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from typing import TypeVar

DEPTH = 2  # items computed before they are asked for
Item = TypeVar("Item")


def prefetch(items: Iterable[Item], depth: int = DEPTH) -> Generator[Item, None, None]:
    """The items in order, computed in a thread of their own up to `depth` before they are asked for.

    An error in the thread is raised here, in its place; leaving the loop early stops the thread.
    """
    done = object()
    box: queue.Queue = queue.Queue(maxsize=depth)
    left = threading.Event()

    def put(item) -> bool:
        while not left.is_set():
            try:
                box.put(item, timeout=0.1)
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
            item, error = box.get()
            if error is not None:
                raise error
            if item is done:
                return
            yield item
    finally:
        left.set()  # and no wait: the garbage collector may close this in any thread, under any lock
