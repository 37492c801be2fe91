"""Whether the parent process of `ildfv prepare` limits its workers: CPU time of both, without their imports.

    python -m bench.bench_workers [--slices 960] [--each 48] [--out FILE.json]

The scans are copies of phantoms (bench/copies.py), prepared with one worker. The parent works while scans are converted
(it sends the tasks and records the results), and before and after that, while no worker is busy (it assembles scans
from headers and searches for duplicates). `busy` is the share of the time of n workers in which it works while they
convert: below 1, they do not wait for it. `speed_up` of n workers is that of the whole command, limited by what the
parent does alone. Both are computed from CPU times, so a machine with two cores suffices.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from datetime import date
from pathlib import Path
from unittest.mock import patch

from bench.copies import Copies
from bench.machine import machine
from ildfv.datasets.prepare_run import PrepareRun
from ildfv.pipeline.prepare import prepare_scans

SALT = "0123456789abcdef"
WORKERS = (2, 4, 8)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--slices", type=int, default=960)
    options.add_argument("--each", type=int, default=48, help="slices per scan")
    options.add_argument("--out", type=Path)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "scans"
        Copies(Path(folder) / "phantoms", given.each).write(files, range(given.slices // given.each))
        found = measured(files, Path(folder) / "workspace")
    found |= {"slices_per_scan": given.each, "date": date.today().isoformat(), "machine": machine()}
    print(json.dumps(found, indent=1))
    if given.out:
        given.out.write_text(json.dumps({"what": __doc__.splitlines()[0], **found}, indent=1) + "\n")


def measured(files: Path, workspace: Path) -> dict:
    """CPU ms per slice of the parent and of the workers, and what follows for more workers."""
    converting: list[float] = []
    convert = PrepareRun.convert

    def timed(run: PrepareRun, workers: int | None) -> None:
        started = time.process_time()
        convert(run, workers)
        converting.append(time.process_time() - started)

    prepare_scans(files, workspace.with_name("first"), workers=1, salt=SALT)  # imports, page cache
    start = cpu_seconds()
    with patch.object(PrepareRun, "convert", timed):
        slices = prepare_scans(files, workspace, workers=1, salt=SALT)["slices"]
    end = cpu_seconds()
    prepare_scans(files, workspace, workers=1, salt=SALT)  # keeps all scans: its worker starts and reads headers only
    kept = cpu_seconds()
    parent = 1000 * (end[0] - start[0]) / slices
    while_converting = 1000 * converting[0] / slices
    workers = 1000 * ((end[1] - start[1]) - (kept[1] - end[1])) / slices
    alone = parent - while_converting
    return {
        "slices": slices,
        "parent_ms_per_slice": round(parent, 3),
        "parent_ms_per_slice_while_converting": round(while_converting, 3),
        "workers_ms_per_slice_while_converting": round(workers, 3),
        "busy": {n: round(while_converting * n / workers, 3) for n in WORKERS},
        "speed_up": {n: round((alone + workers) / (alone + workers / n), 2) for n in WORKERS},
    }


def cpu_seconds() -> tuple[float, float]:
    """CPU time of this process and of its ended children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    own, children = (one.ru_utime + one.ru_stime for one in used)
    return own, children


if __name__ == "__main__":
    main()
