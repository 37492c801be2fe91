"""What is seen while something long runs: bars on a terminal, plain lines elsewhere, JSON lines in a file.

Library functions take `progress: Progress = SILENT` and never print; the CLI chooses which kind they get.
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

from ildfv.visible import visible

Advance = Callable[..., None]

log = logging.getLogger("ildfv")


class Progress(Protocol):
    def task(self, label: str, total: int | None = None, done: int = 0):
        """A context manager giving `advance(n=1)`. done: of the total, made before; it counts for no rate."""

    def note(self, text: str) -> None:
        """One line for the user."""


class Silent:
    """Shows nothing."""

    @contextmanager
    def task(self, label: str, total: int | None = None, done: int = 0) -> Iterator[Advance]:
        yield lambda n=1: None

    def note(self, text: str) -> None:
        pass


SILENT = Silent()


class Lines:
    """A log line every `every` seconds of a task and when it ends: for files and CI."""

    def __init__(self, every: float = 10.0):
        self.every = every

    @contextmanager
    def task(self, label: str, total: int | None = None, done: int = 0) -> Iterator[Advance]:
        start = last = time.monotonic()
        before = done

        def rate(now: float) -> str:
            return _rate(done, total, done - before, now - start)

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
        log.info("%s", visible(text))


def _rate(done: int, total: int | None, now: int, seconds: float) -> str:
    """Counts, rate and times; `now` of the `done` were made in these seconds."""
    speed = now / seconds if seconds > 0 else 0.0
    text = f"{done:,}{f' of {total:,}' if total else ''}, {speed:,.1f}/s, {_clock(seconds)}"
    if total and speed and done < total:
        text += f", {_clock((total - done) / speed)} left"
    return text


def _clock(seconds: float) -> str:
    """ "8 s", "2:05" or "1:02:05"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}" if minutes else f"{rest} s"


class Bars:
    """rich progress bars with count, rate and remaining time, on a terminal."""

    def __init__(self, console=None):
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress

        self.console = console or Console(stderr=True, markup=False)
        self.bars = RichProgress(
            # bars of one command stand below each other
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
            return _rate(done, total, done - before, time.monotonic() - start)

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
                for finished in self.bars.task_ids:  # the next task starts with a clean screen below
                    self.bars.remove_task(finished)

    def note(self, text: str) -> None:
        self.console.print(visible(text), highlight=False, soft_wrap=True)


class WithoutNotes:
    """Shows another progress's tasks, and no notes."""

    def __init__(self, shown: Progress):
        self.shown = shown

    def task(self, label: str, total: int | None = None, done: int = 0):
        return self.shown.task(label, total, done)

    def note(self, text: str) -> None:
        pass


def _is_cut(path: Path) -> bool:
    """Whether the file's last line has no end."""
    if not path.is_file() or not path.stat().st_size:
        return False
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read() != b"\n"


def _private(path: str, flags: int) -> int:
    """An opener of files that only their owner may read: notes hold paths, which may name patients."""
    return os.open(path, flags, 0o600)


class EventLog:
    """JSON lines beside another progress: {"time", "pid", "event", …}, as a second command may write beside the first.

    event: start, advance, end or failed of a task, with "task", "done" and "total"; a note, with "text"; or an error,
    with which a command ends once it has begun. Nothing is written while `beside`, by default the folder, is not there.
    """

    def __init__(self, path: Path, shown: Progress, *, beside: Path | None = None, every: float = 1.0):
        self.path, self.shown, self.every = Path(path), shown, every
        self.beside = self.path.parent if beside is None else Path(beside)
        self.cut = _is_cut(self.path)  # a killed run may have left half a line

    def _write(self, **event) -> None:
        if not self.beside.exists():  # no workspace, no log
            return
        stamp = {"time": round(time.time(), 3), "pid": os.getpid()}
        try:
            with open(self.path, "a", encoding="utf-8", opener=_private) as file:
                file.write("\n" * self.cut + json.dumps({**stamp, **event}) + "\n")
            self.cut = False
        except OSError as error:  # a full disk does not say which file it was
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
                with suppress(OSError):  # the disk may be what failed
                    self._write(event="failed", task=label, done=done, total=total, error=str(error) or repr(error))
                raise
        self._write(event="end", task=label, done=done, total=total)

    def note(self, text: str) -> None:
        self._write(event="note", text=text)
        self.shown.note(text)

    def error(self, text: str) -> None:
        """The line that the command ends with."""
        with suppress(OSError):  # the disk may be what failed
            self._write(event="error", text=text)
