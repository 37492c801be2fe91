"""Progress of long computations: bars on a terminal, log lines elsewhere, JSON lines in a file.

Library functions take `progress: Progress = SILENT` and never print; the CLI passes one of the other classes.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from ildfv.errors import printable

Advance = Callable[..., None]

log = logging.getLogger("ildfv")


class Progress(Protocol):
    """Protocol of objects to which long computations report their progress."""

    def task(self, label: str, total: int | None = None, done: int = 0):
        """Context manager that yields `advance(n=1)`. done: items of an earlier run, not counted in the rate."""

    def note(self, text: str) -> None:
        """Shows one line of text."""


class Silent:
    """No output."""

    @contextmanager
    def task(self, label: str, total: int | None = None, done: int = 0) -> Iterator[Advance]:
        yield lambda n=1: None

    def note(self, text: str) -> None:
        pass


SILENT = Silent()


class Lines:
    """A log line every `every` seconds and at the end of each task, for files and CI."""

    def __init__(self, every: float = 10.0):
        self.every = every

    @contextmanager
    def task(self, label: str, total: int | None = None, done: int = 0) -> Iterator[Advance]:
        start = last = time.monotonic()
        before = done

        def rate(now: float) -> str:
            return _status(done, total, done - before, now - start)

        def advance(n: int = 1) -> None:
            nonlocal done, last
            done += n
            now = time.monotonic()
            if now - last >= self.every:
                last = now
                log.info("%s: %s", label, rate(now))

        yield advance
        log.info("%s: done, %s", label, rate(time.monotonic()))

    def note(self, text: str) -> None:
        log.info("%s", printable(text))


def _status(done: int, total: int | None, finished: int, seconds: float) -> str:
    """Text with counts, rate and times. finished: how many of the `done` items were finished in these seconds."""
    speed = finished / seconds if seconds > 0 else 0.0
    rate = f"{speed:,.1f}/s" if speed >= 1 or not speed else f"{1 / speed:,.1f} s each"
    text = f"{done:,}{f' of {total:,}' if total else ''}, {rate}, {_clock(seconds)}"
    if total and speed and done < total:
        text += f", {_clock((total - done) / speed)} left"
    return text


def _clock(seconds: float) -> str:
    """ "8 s", "2:05" or "1:02:05"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}" if minutes else f"{rest} s"


class Bars:
    """rich progress bars with count, rate and remaining time."""

    def __init__(self, console=None):
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress

        self.console = console or Console(stderr=True, markup=False)
        self.bars = RichProgress(
            # fixed width, so that the bars of a command are aligned
            TextColumn("{task.description:<24}", style="bold", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[rate]}", style="cyan"),
            console=self.console,
        )
        self.running = 0

    @contextmanager
    def task(self, label: str, total: int | None = None, done: int = 0) -> Iterator[Advance]:
        if self.running == 0:
            self.bars.start()
        self.running += 1
        start, before = time.monotonic(), done

        def rate() -> str:
            return _status(done, total, done - before, time.monotonic() - start)

        bar = self.bars.add_task(label, total=total, completed=done, rate=rate())

        def advance(n: int = 1) -> None:
            nonlocal done
            done += n
            self.bars.update(bar, advance=n, rate=rate())

        try:
            yield advance
        finally:
            self.bars.update(bar, total=done if total is None else total)
            self.running -= 1
            if self.running == 0:
                self.bars.stop()
                for finished in self.bars.task_ids:  # the next task starts with an empty display
                    self.bars.remove_task(finished)

    def note(self, text: str) -> None:
        self.console.print(printable(text), highlight=False, soft_wrap=True)


class WithoutNotes:
    """Forwards tasks to another `Progress` and discards notes."""

    def __init__(self, shown: Progress):
        self.shown = shown

    def task(self, label: str, total: int | None = None, done: int = 0):
        return self.shown.task(label, total, done)

    def note(self, text: str) -> None:
        pass


def _ends_within_line(path: Path) -> bool:
    """Whether the file's last line is incomplete."""
    if not path.is_file() or not path.stat().st_size:
        return False
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read() != b"\n"


def _private_opener(path: str, flags: int) -> int:
    """An opener for files that only their owner may read: notes contain paths, which may identify patients."""
    return os.open(path, flags, 0o600)


class EventLog:
    """Writes JSON lines {"time", "pid", "event", …} to a file and forwards all calls to another `Progress`.

    The events "start", "advance", "end" and "failed" of a task have "task", "done" and "total". The events "note" and
    "error" (the error that ends a command) have "text". "pid" distinguishes commands that run at the same time. A task
    writes "advance" at most once in `every` seconds. Nothing is written while the path `required`, by default the
    folder of the log, does not exist.
    """

    def __init__(self, path: Path, shown: Progress, *, required: Path | None = None, every: float = 1.0):
        self.path, self.shown, self.every = Path(path), shown, every
        self.required = self.path.parent if required is None else Path(required)
        self._incomplete = _ends_within_line(self.path)  # a killed process may leave an incomplete line

    def _write(self, **event) -> None:
        if not self.required.exists():  # the log must not create the workspace
            return
        stamp = {"time": round(time.time(), 3), "pid": os.getpid()}
        try:
            with open(self.path, "a", encoding="utf-8", opener=_private_opener) as file:
                file.write("\n" * self._incomplete + json.dumps({**stamp, **event}) + "\n")
            self._incomplete = False
        except OSError as error:  # an error raised by `write` does not name the file
            raise OSError(error.errno, error.strerror, str(self.path)) from error

    @contextmanager
    def task(self, label: str, total: int | None = None, done: int = 0) -> Iterator[Advance]:
        last = 0.0
        self._write(event="start", task=label, done=done, total=total)
        with self.shown.task(label, total, done) as show:

            def advance(n: int = 1) -> None:
                nonlocal done, last
                done += n
                show(n)
                if time.monotonic() - last >= self.every:
                    last = time.monotonic()
                    self._write(event="advance", task=label, done=done, total=total)

            try:
                yield advance
            except BaseException as error:
                with suppress(OSError):  # a full disk may be the cause
                    self._write(event="failed", task=label, done=done, total=total, error=str(error) or repr(error))
                raise
        self._write(event="end", task=label, done=done, total=total)

    def note(self, text: str) -> None:
        self._write(event="note", text=text)
        self.shown.note(text)

    def error(self, text: str) -> None:
        """Writes the error that ends a command."""
        with suppress(OSError):  # a full disk may be the cause
            self._write(event="error", text=text)
