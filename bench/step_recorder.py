"""Time and peak memory of each step of a pipeline command, recorded in a file that survives a killed run."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

EVERY = 5.0  # seconds between two lines of an unfinished step


class Recorder:
    """A Progress that writes a line per task and interval to a file: items done, seconds, and peak memory."""

    def __init__(self, file: Path):
        self.file, self.start = file, f"{os.getpid()}-{time.time():.0f}"
        self.tasks, self.between = 0, 0.0
        self.work, self.began, self.load = "", time.perf_counter(), os.getloadavg()[0]

    def begin(self, work: str) -> None:
        """Attributes all following tasks to `work`."""
        self.work, self.began, self.between = work, time.perf_counter(), 0.0
        self.reset()

    def reset(self) -> None:
        self.between = max(self.between, peak())
        Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM to the present resident memory

    def write(self, **step) -> None:
        line = {"start": self.start, "work": self.work, "work_seconds": time.perf_counter() - self.began}
        with self.file.open("a") as file:
            file.write(json.dumps({**line, "between_mb": self.between, "load": self.load, **step}) + "\n")

    @contextmanager
    def task(self, label: str, total: int | None = None, done: int = 0) -> Iterator:
        self.tasks += 1
        task, now, last = self.tasks, 0, time.perf_counter()
        self.reset()
        started, work = time.perf_counter(), time.process_time()

        def write() -> None:
            times = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - work}
            self.write(task=task, label=label, slices=now, **times, peak_mb=peak())

        def advance(n: int = 1) -> None:
            nonlocal now, last
            now += n
            if time.perf_counter() - last > EVERY:
                last = time.perf_counter()
                write()

        yield advance
        write()
        self.reset()

    def note(self, text: str) -> None:
        print(text, file=sys.stderr)


def summary(file: Path, n: int) -> dict:
    """The totals of the lines of all runs."""
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    works = {(line["start"], line["work"]): line for line in lines}  # keep the last line of each task
    tasks = {(line["start"], line["task"]): line for line in lines if "task" in line}
    steps: dict[str, dict] = {}
    for line in tasks.values():
        step = steps.setdefault(line["label"], {"slices": 0, "seconds": 0.0, "cpu_seconds": 0.0, "peak_mb": 0.0})
        for name in ("slices", "seconds", "cpu_seconds"):
            step[name] += line[name]
        step["peak_mb"] = max(step["peak_mb"], line["peak_mb"])
    for step in steps.values():
        step["ms_per_slice"] = 1000 * step["seconds"] / max(step["slices"], 1)
        step["cpu_ms_per_slice"] = 1000 * step["cpu_seconds"] / max(step["slices"], 1)
    found: dict = {"slices": n, "starts": len({start for start, _ in works}), "load_before": lines[0]["load"]}
    for work in ("encode", "regress"):
        mine = [line for (_, name), line in works.items() if name == work]
        inside = [line for line in tasks.values() if line["work"] == work]
        seconds = sum(line["work_seconds"] for line in mine)
        between = max(line["between_mb"] for line in mine)
        found[work] = {
            "seconds": seconds,
            # Not counted by any step: reading the manifest and columns, starting the mixture, solving, scoring.
            "outside_steps_seconds": seconds - sum(line["seconds"] for line in inside),
            "peak_mb": max([between, *(line["peak_mb"] for line in inside)]),
        }
    found["seconds"] = found["encode"]["seconds"] + found["regress"]["seconds"]
    found["peak_mb"] = max(found["encode"]["peak_mb"], found["regress"]["peak_mb"])
    return {**found, "steps": steps}


def peak() -> float:
    """Highest resident memory since it was last reset, MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
