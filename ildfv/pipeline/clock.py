"""Wall time of steps, summed over runs: a resumed run adds its time to that of earlier runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ildfv.store.atomic import read_json, write_json


class Clock:
    """Seconds by step name, stored in a JSON file.

    If a run is killed, the file has the time up to the last call of the function that `running` yields.
    """

    def __init__(self, path: Path):
        self.path = path
        self.seconds: dict[str, float] = read_json(path) if path.exists() else {}

    @contextmanager
    def running(self, name: str) -> Iterator[Callable[[], None]]:
        """Measures a step. Yields a function that records the time so far; the time is also recorded at the end."""
        last = time.monotonic()

        def mark() -> None:
            nonlocal last
            now = time.monotonic()
            self.seconds[name] = round(self.seconds.get(name, 0.0) + now - last, 3)
            last = now
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.path, self.seconds)

        try:
            yield mark
        finally:
            mark()
