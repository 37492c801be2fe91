"""Time and memory of the commands from DICOM files to scores: prepare, folds, encode and regress, by number of slices.

    python -m bench.bench_path [--slices 2000,20000] [--block 20000] [--folder FOLDER] [--out FILE.json]

The files are copies of a few phantoms with noise (bench/copies.py): uncompressed DICOM of 512×512 pixels with label
maps, in scans of --each slices. Slices are written and prepared in blocks of at most --block slices, and the files of a
block are deleted when they are prepared. The disk needs 0.55 MB per slice of a block, and 0.22 MB per slice in total.
The time of `prepare` is the sum over blocks; writing the files is not counted. If the memory suffices, the new files
are still in the page cache when they are read, so reading from a cold disk is not measured.

Each command is a process of its own. `cpu_seconds` are of the process and its children, `peak_mb` is the resident
memory of the largest of these processes. Encoding uses CNN-F with random weights and default settings. An interrupted
benchmark is resumed by the same command. If `prepare` was interrupted, this size is measured again from its first
block. If `encode` or `regress` was interrupted, it is measured again from `encode`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

from bench.copies import EACH, Copies
from bench.machine import machine

LAYER = "conv1"
# Runs a command and prints its use of resources. The peak of a process includes that of the process that started it, so
# commands are not started by the benchmark itself, which holds phantoms in memory.
LAUNCHER = """
import json, os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=sys.stderr)
_, status, used = os.wait4(process.pid, 0)
print(json.dumps({"cpu_seconds": used.ru_utime + used.ru_stime, "peak_mb": used.ru_maxrss / 1024}))
sys.exit(os.waitstatus_to_exitcode(status) and 1)
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--slices", default="2000,20000", help="numbers of slices, separated by commas")
    options.add_argument("--block", type=int, default=20_000, help="slices whose files exist at the same time")
    options.add_argument("--each", type=int, default=EACH, help="slices per scan")
    options.add_argument("--folder", type=Path, default=Path("build/path"))
    options.add_argument("--out", type=Path, help="default: bench/results/path-DATE.json")
    given = options.parse_args()
    folder = given.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    copies = Copies(folder / "phantoms", given.each)
    found = {"what": __doc__.splitlines()[0], "date": date.today().isoformat(), "machine": machine(), "sizes": {}}
    for n in (int(n) for n in given.slices.split(",")):
        size = Size(folder / str(n), n // given.each, copies, max(given.block // given.each, 1))
        found["sizes"][n] = size.measured()
        show(n, found["sizes"][n])
    out = given.out or Path(__file__).parent / "results" / f"path-{found['date']}.json"
    out.write_text(json.dumps(found, indent=1) + "\n")
    print(out)


class Size:
    """The commands for one number of slices. Rows of finished commands are in rows.json, by name of the step."""

    def __init__(self, folder: Path, scans: int, copies: Copies, block: int):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.scans, self.copies, self.block = folder, scans, copies, block
        self.workspace, self.file = folder / "workspace", folder / "rows.json"
        self.rows: dict[str, dict] = json.loads(self.file.read_text()) if self.file.exists() else {}
        self.running = folder / "running.txt"  # name of the step that is running
        if self.running.exists():
            self.restart(self.running.read_text())

    def restart(self, name: str) -> None:
        """Deletes the output of an interrupted step, which would otherwise be resumed and seem to take less time."""
        if name in ("encode", "regress"):
            shutil.rmtree(self.workspace / "encodings", ignore_errors=True)
            self.rows.pop("encode", None)
        else:
            shutil.rmtree(self.workspace, ignore_errors=True)
            self.rows.clear()

    def measured(self) -> dict:
        """The result of all steps; runs those that are missing, and then deletes the workspace."""
        for first in range(0, self.scans, self.block):
            name, files = f"prepare {first}", self.folder / f"scans-{first}"
            if name not in self.rows:
                self.copies.write(files, range(first, min(first + self.block, self.scans)))
                self.run(name, "prepare", files)
            shutil.rmtree(files, ignore_errors=True)
        self.run("folds", "folds")
        if "encode" not in self.rows:
            self.write_network()
        self.run("encode", "encode", "--layer", LAYER)
        self.run("regress", "regress", "--layer", LAYER)
        shutil.rmtree(self.workspace, ignore_errors=True)
        return self.summary()

    def run(self, name: str, *arguments: object) -> None:
        """Runs an ildfv command on the workspace, unless its row exists, and adds the row."""
        if name in self.rows:
            return
        command = [sys.executable, "-m", "ildfv", *map(str, arguments), "-w", str(self.workspace)]
        self.running.write_text(name)
        load, started = os.getloadavg()[0], time.perf_counter()
        with (self.folder / "log.txt").open("ab") as log:
            launcher = [sys.executable, "-c", LAUNCHER, *command]
            used = subprocess.run(launcher, stdout=subprocess.PIPE, stderr=log, check=False)
        seconds = time.perf_counter() - started
        if used.returncode:
            sys.exit(f"{' '.join(command)} failed, see {self.folder / 'log.txt'}")
        self.rows[name] = {"seconds": seconds, **json.loads(used.stdout), "load": load}
        self.file.write_text(json.dumps(self.rows, indent=1))
        self.running.unlink()

    def write_network(self) -> None:
        from ildfv.pipeline.workspace import Workspace
        from ildfv.train import networks

        folder = Workspace.open(self.workspace).model_dir("cnnf", 0)
        if not (folder / "model.json").exists():
            networks.save(folder, networks.build("cnnf", seed=0), {"kind": "network"})

    def summary(self) -> dict:
        slices, steps = self.scans * self.copies.each, {}
        for name, row in self.rows.items():
            step = steps.setdefault(name.split()[0], {"seconds": 0.0, "cpu_seconds": 0.0, "peak_mb": 0.0, "loads": []})
            for key in ("seconds", "cpu_seconds"):
                step[key] = round(step[key] + row[key], 2)
            step["peak_mb"] = round(max(step["peak_mb"], row["peak_mb"]))
            step["loads"].append(round(row["load"], 1))
        for step in steps.values():
            step["ms_per_slice"] = round(1000 * step["seconds"] / slices, 3)
            step["cpu_ms_per_slice"] = round(1000 * step["cpu_seconds"] / slices, 3)
        total = {key: round(sum(step[key] for step in steps.values()), 2) for key in ("seconds", "cpu_seconds")}
        return {**total, "peak_mb": max(step["peak_mb"] for step in steps.values()), "steps": steps}


def show(slices: int, found: dict) -> None:
    print(f"{slices:,} slices: {found['seconds']:,.0f} s, {found['cpu_seconds']:,.0f} CPU s, {found['peak_mb']:,} MB")
    for name, step in found["steps"].items():
        wall, cpu, peak = step["ms_per_slice"], step["cpu_ms_per_slice"], step["peak_mb"]
        print(f"    {name:10}{wall:9.2f} ms per slice{cpu:9.2f} ms of CPU{peak:7,} MB", flush=True)


if __name__ == "__main__":
    main()
