"""Seconds that steps took over all runs: a later run finds what the earlier ones made, and adds to their times."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ildfv.store.atomic import read_json, write_json


class Clock:
    """Times by name in a JSON file. Of a run that was killed they hold what it took up to its last mark."""

    def __init__(self, path: Path):
        self.path = path
        self.seconds: dict[str, float] = read_json(path) if path.exists() else {}

    @contextmanager
    def running(self, name: str) -> Iterator[Callable[[], None]]:
        """Marks the time at its end, however it comes, and whenever what it gives is called."""
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
