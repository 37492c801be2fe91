"""Memory and time of encode and regress by number of slices, each size in a separate process.

    python -m bench.bench_scale [--slices 2000,20000,240000] [--network cnnf] [--folder FOLDER] [--out FILE.json]

The slices repeat: SOURCES files of phantom slices are written once, and each scan of the workspace is a separate part
whose images are a link to one of them. Except for this, all reads and writes are those of `ildfv encode` and `ildfv
regress`; the page cache is more effective than it would be with 36 GB of images. --network cnnf (default) is the
paper's, with random weights; coarse is one convolution to 28×28 descriptors of 8 dimensions, to measure the memory for
many slices quickly.

An interrupted run is resumed by the same command; FOLDER (20 KB per slice) is emptied when the result is written. Wall
and CPU seconds are summed over all runs; the last five seconds of a killed run are not counted. Peaks are resident
memory (VmHWM), reset at the start of each step. `compared` divides every size by the largest: peaks, and milliseconds
per slice of each step.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import h5py
import numpy as np

SOURCES, EACH = 16, 100  # files of distinct slices, and slices per scan
SCANS = 4  # per patient
FOLDS = 5
STEPS = "steps.jsonl"
EVERY = 5.0  # seconds between two lines of an unfinished step


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--slices", default="2000,20000,240000", help="numbers of slices, separated by commas")
    options.add_argument("--network", default="cnnf", choices=("cnnf", "coarse"))
    options.add_argument("--layer", default="conv1")
    options.add_argument("--method", default="stepwise", choices=("stepwise", "exact"))
    options.add_argument("--passes", type=int, default=3, help="EM passes")
    options.add_argument("--folder", type=Path, default=Path("build/scale"), help="20 KB per slice")
    options.add_argument("--out", type=Path, help="default: bench/results/scale-NETWORK-DATE.json")
    options.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.child:
        run(given.child, given.layer, given.method, given.passes)
        return
    name = f"{given.network}-{given.layer}-{given.method}-{given.passes}"
    folder = given.folder.resolve() / name
    folder.mkdir(parents=True, exist_ok=True)
    write_sources(folder / "sources")
    sizes = [int(n) for n in given.slices.split(",")]
    for n in sizes:
        done, root = folder / f"{n}.json", folder / f"workspace-{n}"
        if not done.exists():
            write_workspace(root, folder / "sources", n, given.network)
            command = [sys.executable, "-m", "bench.bench_scale", "--child", root, "--layer", given.layer]
            command += ["--method", given.method, "--passes", given.passes]
            environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}  # as the command line sets it
            subprocess.run([*map(str, command)], check=True, env=environment)
            done.write_text(json.dumps(summary(root / STEPS, n)))
            shutil.rmtree(root)
        show(n, json.loads(done.read_text()))
    measured = {n: json.loads((folder / f"{n}.json").read_text()) for n in sizes}
    found = {
        "what": __doc__.splitlines()[0],
        "date": date.today().isoformat(),
        "machine": machine(),
        "network": given.network,
        "layer": given.layer,
        "em": {"method": given.method, "passes": given.passes},
        "compared": compared(measured),
        "sizes": measured,
    }
    out = given.out or Path(__file__).parent / "results" / f"scale-{given.network}-{found['date']}.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(found, indent=1) + "\n")
    shutil.rmtree(folder)
    print(json.dumps(found["compared"], indent=1))
    print(out)


def show(n: int, found: dict) -> None:
    seconds = found["seconds"]
    print(f"{n:,} slices: {seconds:,.0f} s, {1000 * seconds / n:.2f} ms per slice, peak {found['peak_mb']:,.0f} MB")
    for label, step in found["steps"].items():
        wall, work = step["ms_a_slice"], step["cpu_ms_a_slice"]
        print(f"    {label:28} {wall:7.3f} ms per slice ({work:.3f} of all cores) {step['peak_mb']:7,.0f} MB")
    sys.stdout.flush()


def compared(measured: dict[int, dict]) -> dict:
    """Each size divided by the largest: peaks, and wall and CPU milliseconds per slice of each step."""
    largest = measured[max(measured)]

    def steps(one: dict, name: str) -> dict:
        both = [label for label in one["steps"] if label in largest["steps"]]
        return {label: round(one["steps"][label][name] / largest["steps"][label][name], 3) for label in both}

    return {
        n: {
            "peak": round(one["peak_mb"] / largest["peak_mb"], 3),
            **{name: steps(one, name) for name in ("ms_a_slice", "cpu_ms_a_slice")},
        }
        for n, one in measured.items()
    }


# -- one size, in its own process --------------------------------------------------------------------------------------


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


def run(root: Path, layer: str, method: str, passes: int) -> None:
    """Encodes and regresses in this process, and writes lines to STEPS."""
    register()
    from ildfv.pipeline.encode import EncodeSettings, encode_slices
    from ildfv.pipeline.regress import regress_encoding

    recorder = Recorder(root / STEPS)
    settings = EncodeSettings(layer=layer, method=method, passes=passes, tolerance=0)
    for name, work in (
        ("encode", lambda: encode_slices(root, settings, progress=recorder)),
        ("regress", lambda: regress_encoding(root, layer=layer, progress=recorder)),
    ):
        recorder.begin(name)
        work()
        recorder.reset()
        recorder.write()


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
        step["ms_a_slice"] = 1000 * step["seconds"] / max(step["slices"], 1)
        step["cpu_ms_a_slice"] = 1000 * step["cpu_seconds"] / max(step["slices"], 1)
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


# -- what is encoded ---------------------------------------------------------------------------------------------------


def write_sources(folder: Path) -> None:
    """Writes the files of EACH phantom slices, shifted by a different number of pixels in each, unless all exist."""
    from bench.data import slices

    if (folder / "complete").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    images, random = slices(8, 16), np.random.default_rng(0)
    folder.mkdir()
    for number in range(SOURCES):
        moved = np.roll(images[random.permutation(len(images))[:EACH]], random.integers(0, 224, 2), axis=(2, 3))
        with h5py.File(folder / f"{number}.h5", "x", libver=("v110", "v110")) as file:
            file.create_dataset("images", data=moved, chunks=(1, 3, 224, 224), fletcher32=True)
    (folder / "complete").touch()


def write_workspace(root: Path, sources: Path, n: int, network: str, *, scans: int = SCANS) -> None:
    """Creates a workspace of n slices in scans of EACH slices, with random patterns, unless it exists.

    The network is written last and marks a complete workspace.
    """
    from ildfv.pipeline.split import write_folds
    from ildfv.pipeline.workspace import Workspace
    from ildfv.store.atomic import sha256
    from ildfv.store.parts import Row, writing_parts
    from ildfv.train import networks

    register()
    if list(root.glob("models/*/*/model.json")):
        return
    shutil.rmtree(root, ignore_errors=True)
    random = np.random.default_rng(1)
    workspace = Workspace.open_or_create(root, version="bench", salt="0123456789abcdef", folds=FOLDS)
    with writing_parts(workspace.slices_dir, workspace.slices_key) as parts:
        for scan in range(n // EACH):
            path = parts.path(f"{scan:016x}")
            with h5py.File(path, "x", libver=("v110", "v110")) as file:
                file["images"] = h5py.ExternalLink(str(sources / f"{scan % SOURCES}.h5"), "/images")
                file.create_dataset("labels", (EACH, 224, 224), np.uint8)  # nothing is stored: the values are 0
                file["counts"] = np.where(random.random((EACH, 4)) < 0.3, 9000, 100).astype(np.int32)
                file["lung"] = np.full(EACH, 60000, np.int32)
                file["positions"] = np.arange(EACH, dtype=np.float32)
                who = {"patient": np.bytes_(f"{scan // scans:016x}"), "series": np.bytes_(path.stem)}
                file.attrs.update(who | {"labelled": True, "pixel_area": 0.5, "phantom": True})
            parts.add(Row(path.stem, EACH, sha256(path)))
    write_folds(workspace)
    model = networks.build(network, seed=0)
    networks.save(workspace.model_dir(network, 0), model, {"kind": "network"})


def register() -> None:
    """Registers the network "coarse" and permits the links of this benchmark, which the store refuses."""
    from torch import nn

    from ildfv.store import hdf5
    from ildfv.train import networks

    hdf5._check_content = lambda file, name: None

    if "coarse" in networks.NETWORKS:
        return

    @networks.register("coarse")
    def coarse(n_outputs):
        body = nn.Sequential()
        body.add_module("conv1", nn.Conv2d(3, 8, 8, stride=8))
        body.add_module("relu1", nn.ReLU())
        body.add_module("flatten", nn.Flatten())
        body.add_module("out", nn.Linear(8 * 28 * 28, n_outputs))
        return body, {"conv1": "relu1"}


def machine() -> dict:
    import platform

    import torch

    model = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return {
        "cpu": model[0] if model else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "h5py": h5py.__version__,
    }


if __name__ == "__main__":
    main()
