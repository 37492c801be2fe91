"""What is seen while something long runs: bars on a terminal, plain lines elsewhere, JSON lines in a file.

Library functions take `progress: Progress = SILENT` and never print; the CLI chooses which kind they get.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

Advance = Callable[..., None]

log = logging.getLogger("ildfv")


class Progress(Protocol):
    def task(self, label: str, total: int | None = None):
        """A context manager giving `advance(n=1)`."""

    def note(self, text: str) -> None:
        """One line for the user."""


class Silent:
    """Shows nothing."""

    @contextmanager
    def task(self, label: str, total: int | None = None) -> Iterator[Advance]:
        yield lambda n=1: None

    def note(self, text: str) -> None:
        pass


SILENT = Silent()


class Lines:
    """A log line when a task starts, every `every` seconds, and when it ends: for files and CI."""

    def __init__(self, every: float = 10.0):
        self.every = every

    @contextmanager
    def task(self, label: str, total: int | None = None) -> Iterator[Advance]:
        start = last = time.monotonic()
        done = 0

        def advance(n: int = 1) -> None:
            nonlocal done, last
            done += n
            now = time.monotonic()
            if now - last >= self.every:
                last = now
                log.info("%s: %s", label, _rate(done, total, now - start))

        yield advance
        log.info("%s: done, %s", label, _rate(done, total, time.monotonic() - start))

    def note(self, text: str) -> None:
        log.info("%s", text)


def _rate(done: int, total: int | None, seconds: float) -> str:
    speed = done / seconds if seconds > 0 else 0.0
    text = f"{done}{f' of {total}' if total else ''}, {speed:.1f}/s, {seconds:.0f} s"
    if total and done and done < total:
        text += f", {(total - done) / speed:.0f} s left"
    return text


class Bars:
    """rich progress bars with count, rate and remaining time, on a terminal."""

    def __init__(self, console=None):
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self.console = console or Console(stderr=True)
        self.bars = RichProgress(
            TextColumn("{task.description}", style="bold"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}", style="cyan"),
            TimeElapsedColumn(),
            TextColumn("left", style="dim"),
            TimeRemainingColumn(),
            console=self.console,
        )
        self.running = 0

    @contextmanager
    def task(self, label: str, total: int | None = None) -> Iterator[Advance]:
        if self.running == 0:
            self.bars.start()
        self.running += 1
        bar = self.bars.add_task(label, total=total, rate="")
        start, done = time.monotonic(), 0

        def advance(n: int = 1) -> None:
            nonlocal done
            done += n
            seconds = time.monotonic() - start
            self.bars.update(bar, advance=n, rate=f"{done / seconds:.1f}/s" if seconds > 0 else "")

        try:
            yield advance
        finally:
            self.bars.update(bar, total=done if total is None else total)
            self.running -= 1
            if self.running == 0:
                self.bars.stop()
                for finished in self.bars.task_ids:  # the next task starts with a clean screen below
                    self.bars.remove_task(finished)

    def note(self, text: str) -> None:
        self.console.print(text, highlight=False)


class EventLog:
    """JSON lines beside another progress: {"time", "event": start|advance|end|note, "task", "done", "total"}."""

    def __init__(self, path: Path, shown: Progress, every: float = 1.0):
        self.path, self.shown, self.every = Path(path), shown, every

    def _write(self, **event) -> None:
        if not self.path.parent.is_dir():  # no workspace, no log: a mistyped path must not become a folder
            return
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"time": round(time.time(), 3), **event}) + "\n")

    @contextmanager
    def task(self, label: str, total: int | None = None) -> Iterator[Advance]:
        done, last = 0, 0.0
        self._write(event="start", task=label, total=total)
        with ExitStack() as stack:
            show = stack.enter_context(self.shown.task(label, total))

            def advance(n: int = 1) -> None:
                nonlocal done, last
                done += n
                show(n)
                if time.monotonic() - last >= self.every:
                    last = time.monotonic()
                    self._write(event="advance", task=label, done=done, total=total)

            yield advance
        self._write(event="end", task=label, done=done, total=total)

    def note(self, text: str) -> None:
        self._write(event="note", text=text)
        self.shown.note(text)
