"""`ildfv encode` of one layer on a GPU: seconds and slices of each step, for phantom slices and random weights.

    PYTHONPATH=. python bench/bench_encode_cuda.py [--slices 24000] [--layer conv1] [--device cuda] [--out FILE.json]

The images of all scans are links to a few files (linked_slices.py). The result file is written every few seconds, so
that an interrupted run keeps the rates measured so far.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import torch
from rows import Results

EVERY = 2.0  # seconds between writes


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--slices", type=int, default=24_000)
    options.add_argument("--layer", default="conv1")
    options.add_argument("--passes", type=int, default=1, help="EM passes")
    options.add_argument("--device", default="cuda")
    options.add_argument("--folder", type=Path, help="folder of the workspace; default: the temporary folder")
    options.add_argument("--out")
    given = options.parse_args()
    from bench.linked_slices import write_sources, write_workspace
    from ildfv.pipeline.encode import EncodeSettings, encode_slices

    cuda = given.device != "cpu"
    found = {
        "what": __doc__.splitlines()[0],
        "date": date.today().isoformat(),
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "torch": torch.__version__,
        "cores": len(os.sched_getaffinity(0)),
        "layer": given.layer,
        "slices": given.slices,
        "finished": False,
    }
    results = Results(given.out, found)
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="ildfv-encode-") as folder:
        sources = (given.folder or Path(folder)) / "sources"
        write_sources(sources)
        write_workspace(Path(folder) / "workspace", sources, given.slices, "cnnf")
        settings = EncodeSettings(layer=given.layer, passes=given.passes, tolerance=0)
        started = time.perf_counter()
        with results.contestant(step="encode"):
            encode_slices(Path(folder) / "workspace", settings, device=given.device, progress=Recorder(results))
            found |= {"finished": True, "seconds": time.perf_counter() - started}
    if cuda:
        found["peak_device_mb"] = torch.cuda.max_memory_reserved() / 1e6
    results.write()
    print(json.dumps(found, indent=1))
    if not found["finished"]:
        raise SystemExit(1)


class Recorder:
    """A Progress with one row for each task: its label, the slices so far and the seconds they took."""

    def __init__(self, results: Results):
        self.results, self.written = results, time.perf_counter()

    @contextmanager
    def task(self, label: str, total: int | None = None, done: int = 0) -> Iterator:
        started = time.perf_counter()
        row = {"step": label, "total": total, "done": 0, "seconds": 0.0}
        self.results.add_row(row)

        def advance(n: int = 1) -> None:
            row["done"] += n
            row["seconds"] = time.perf_counter() - started
            if time.perf_counter() - self.written > EVERY:
                self.write()

        try:
            yield advance
        finally:
            row["seconds"] = time.perf_counter() - started
            self.write()

    def write(self) -> None:
        self.written = time.perf_counter()
        self.results.write()

    def note(self, text: str) -> None:
        print(text, flush=True)


if __name__ == "__main__":
    main()
