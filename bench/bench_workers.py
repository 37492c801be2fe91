"""Whether the parent process of `ildfv prepare` limits its workers: CPU time of both, and a run with sleeping workers.

    python -m bench.bench_workers [--slices 2000] [--each 48,100] [--workers 2,8] [--out FILE.json]

The scans are copies of phantoms (bench/copies.py). First they are prepared, and the CPU time of the parent and of the
workers is measured, without their imports. In a second run, the workers do not convert scans: they sleep for the CPU
time that the conversion took, link the finished part into the store, and return the same result. On a machine with few
cores, this shows how busy the parent would keep more workers: `rate` is the number of slices per second while scans are
converted, and `ideal` is the rate of workers that never wait. `speed_up` is the limit of the whole command: what the
parent does before and after the conversion is not done in parallel.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import resource
import shutil
import tempfile
import time
from datetime import date
from pathlib import Path

from bench.copies import Copies
from bench.machine import machine
from ildfv.datasets import prepare_run
from ildfv.datasets.convert import Outcome, Task
from ildfv.datasets.identity import hashed
from ildfv.pipeline.prepare import prepare_scans

SALT = "0123456789abcdef"
READY, SECONDS = "ILDFV_BENCH_READY", "ILDFV_BENCH_SECONDS"  # for spawned workers: finished parts; CPU s per slice


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--slices", type=int, default=2000)
    options.add_argument("--each", default="48,100", help="slices per scan")
    options.add_argument("--workers", default="2,8")
    options.add_argument("--out", type=Path)
    given = options.parse_args()
    rows = []
    for each in map(int, given.each.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            files = Path(folder) / "scans"
            Copies(Path(folder) / "phantoms", each).write(files, range(given.slices // each))
            rows += measured(files, Path(folder), each, [int(n) for n in given.workers.split(",")])
    found = {"what": __doc__.splitlines()[0], "date": date.today().isoformat(), "machine": machine(), "rows": rows}
    print(json.dumps(rows, indent=1))
    if given.out:
        given.out.write_text(json.dumps(found, indent=1) + "\n")


def measured(files: Path, folder: Path, each: int, workers: list[int]) -> list[dict]:
    """One row for each number of workers."""
    outcomes: dict[str, Outcome] = {}
    record = prepare_run.PrepareRun._record

    def recorded(run: prepare_run.PrepareRun, task: Task, outcome: Outcome) -> None:
        outcomes[task.scan.series] = outcome
        record(run, task, outcome)

    prepare_scans(files, folder / "first", workers=1, salt=SALT)  # imports, page cache
    with replaced(prepare_run.PrepareRun, "_record", recorded):
        before = cpu_seconds()
        summary = prepare_scans(files, folder / "ready", workers=1, salt=SALT)
        parent, children = (1000 * (after - start) / summary["slices"] for start, after in zip(before, cpu_seconds()))
    (folder / "outcomes").write_bytes(pickle.dumps(outcomes))
    imports = 1000 * imports_of_a_worker(folder) / summary["slices"]
    worker = children - imports
    os.environ |= {READY: str(folder), SECONDS: str(worker / 1000)}
    rows = []
    for n in workers:
        shutil.rmtree(folder / "slept", ignore_errors=True)
        with replaced(prepare_run, "convert_scan", slept), timed(prepare_run.PrepareRun, "convert") as seconds:
            prepare_scans(files, folder / "slept", workers=n, salt=SALT)
        rate, ideal = summary["slices"] / seconds[0], 1000 * n / worker
        rows.append(
            {
                "slices": summary["slices"],
                "slices_a_scan": each,
                "workers": n,
                "parent_ms_a_slice": round(parent, 3),
                "workers_ms_a_slice": round(worker, 3),
                "rate": round(rate),
                "ideal": round(ideal),
                "rate_by_ideal": round(rate / ideal, 3),
                "speed_up": round((parent + worker) / (parent + worker / n), 2),
            }
        )
    return rows


def slept(task: Task) -> Outcome:
    """Takes the place of `convert_scan` in workers."""
    folder = Path(os.environ[READY])
    time.sleep(float(os.environ[SECONDS]) * task.scan.geometry.shape[0])
    name = hashed(task.scan.series, task.salt)
    os.link(folder / "ready" / "slices" / f"{name}.h5", task.out / f"{name}.h5")
    return pickle.loads((folder / "outcomes").read_bytes())[task.scan.series]


def cpu_seconds() -> tuple[float, float]:
    """CPU time of this process and of its ended children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return tuple(one.ru_utime + one.ru_stime for one in used)


def imports_of_a_worker(folder: Path) -> float:
    """CPU seconds of a worker that keeps an existing store: its start and its imports, and reading all headers."""
    before = cpu_seconds()
    prepare_scans(folder / "scans", folder / "ready", workers=1, salt=SALT)
    return cpu_seconds()[1] - before[1]
