"""Memory and time of encode and regress as the slice set grows: every size in a process of its own.

    python -m bench.bench_scale --slices 2000,20000,200000 [--network coarse] [--out FILE.json] [--folder FOLDER]

The slices repeat: SOURCES files of phantom slices are written once, and every scan of the workspace is a part of its
own whose images are a link into one of them. All else is what `ildfv encode` and `ildfv regress` do, read by read and
write by write; only the page cache is kinder than 36 GB of images would be. --network cnnf (default) is the paper's,
with random weights; coarse is one convolution to 28×28 descriptors of 8, for the memory of many slices in little time.
Seconds are of the wall, beside the time that all cores worked; peaks are resident memory (VmHWM), reset where a step
begins.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import h5py
import numpy as np

SOURCES, EACH = 16, 100  # files of distinct slices, and slices a scan
SCANS = 4  # a patient
FOLDS = 5


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--slices", default="2000,20000", help="sizes, by comma")
    options.add_argument("--network", default="cnnf", choices=("cnnf", "coarse"))
    options.add_argument("--layer", default="conv1")
    options.add_argument("--passes", type=int, default=1, help="EM passes")
    options.add_argument("--folder", type=Path, help="where 20 KB a slice fit; default: the temporary folder")
    options.add_argument("--out", type=Path, help="default: bench/results/scale-NETWORK-DATE.json")
    options.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.child:
        print(json.dumps(run(given.child, given.layer, given.passes)))
        return
    found = {
        "what": __doc__.splitlines()[0],
        "date": date.today().isoformat(),
        "machine": machine(),
        "network": given.network,
        "layer": given.layer,
        "sizes": {},
    }
    out = given.out or Path(__file__).parent / "results" / f"scale-{given.network}-{found['date']}.json"
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="ildfv-scale-") as folder:
        write_sources(Path(folder) / "sources")
        for n in map(int, given.slices.split(",")):
            root = Path(folder) / f"workspace-{n}"
            write_workspace(root, Path(folder) / "sources", n, given.network)
            command = [sys.executable, "-m", "bench.bench_scale", "--child", root]
            command += ["--layer", given.layer, "--passes", given.passes]
            load = os.getloadavg()[0]
            ended = subprocess.run([*map(str, command)], stdout=subprocess.PIPE, check=True)
            found["sizes"][n] = {"load_before": load, **json.loads(ended.stdout)}
            out.parent.mkdir(exist_ok=True)
            out.write_text(json.dumps(found, indent=1) + "\n")
            show(n, found["sizes"][n])
            shutil.rmtree(root)
    print(out)


def show(n: int, found: dict) -> None:
    print(f"{n:,} slices: {found['ms_a_slice']:.2f} ms a slice, peak {found['peak_mb']:,.0f} MB")
    for step in found["steps"]:
        wall, work = step["ms_a_slice"], step["cpu_ms_a_slice"]
        print(f"    {step['label']:36} {wall:8.3f} ms a slice ({work:.3f} of all cores) {step['peak_mb']:8,.0f} MB")


# -- one size, in its own process --------------------------------------------------------------------------------------


class Recorder:
    """A Progress that keeps seconds, slices and peak memory of every task, and the peak of all that is between them."""

    def __init__(self):
        self.steps: list[dict] = []
        self.between = 0.0

    def reset(self) -> None:
        self.between = max(self.between, peak())
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts again from what is resident now

    @contextmanager
    def task(self, label: str, total: int | None = None) -> Iterator:
        done = 0

        def advance(n: int = 1) -> None:
            nonlocal done
            done += n

        self.reset()
        started, work = time.perf_counter(), time.process_time()
        yield advance
        seconds, work = time.perf_counter() - started, time.process_time() - work
        each = {"ms_a_slice": 1000 * seconds / max(done, 1), "cpu_ms_a_slice": 1000 * work / max(done, 1)}
        self.steps.append({"label": label, "slices": done, "seconds": seconds, **each, "peak_mb": peak()})
        self.reset()

    def note(self, text: str) -> None:
        print(text, file=sys.stderr)


def run(root: Path, layer: str, passes: int) -> dict:
    """Encode and regress in this process: every step's time and memory, and those of the whole."""
    register()
    from ildfv.pipeline.encode import EncodeSettings, encode_slices
    from ildfv.pipeline.regress import regress_encoding

    found: dict = {}
    recorder = Recorder()
    for name, work in (
        ("encode", lambda: encode_slices(root, EncodeSettings(layer=layer, passes=passes), progress=recorder)),
        ("regress", lambda: regress_encoding(root, layer=layer, progress=recorder)),
    ):
        before = len(recorder.steps)
        recorder.reset()
        recorder.between = 0.0
        started = time.perf_counter()
        result = work()
        found[name] = {"seconds": time.perf_counter() - started}
        steps = recorder.steps[before:]
        # What no step counts: reading the manifest and columns, starting the mixture, solving, scoring.
        found[name]["outside_steps_seconds"] = found[name]["seconds"] - sum(step["seconds"] for step in steps)
        recorder.reset()
        found[name]["peak_mb_between_steps"] = recorder.between
        found[name]["peak_mb"] = max([recorder.between, *(step["peak_mb"] for step in steps)])
        if name == "encode":
            n = result["slices"]
    seconds = sum(found[name]["seconds"] for name in ("encode", "regress"))
    return {
        "slices": n,
        "ms_a_slice": 1000 * seconds / n,
        "peak_mb": max(found[name]["peak_mb"] for name in ("encode", "regress")),
        **found,
        "steps": recorder.steps,
    }


def peak() -> float:
    """Highest resident memory since it was last reset, MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


# -- what is encoded ---------------------------------------------------------------------------------------------------


def write_sources(folder: Path) -> None:
    """Files of EACH slices: phantoms, each file's moved by pixels of its own."""
    from bench.data import slices

    images, random = slices(8, 16), np.random.default_rng(0)
    folder.mkdir()
    for number in range(SOURCES):
        moved = np.roll(images[random.permutation(len(images))[:EACH]], random.integers(0, 224, 2), axis=(2, 3))
        with h5py.File(folder / f"{number}.h5", "x", libver=("v110", "v110")) as file:
            file.create_dataset("images", data=moved, chunks=(1, 3, 224, 224), fletcher32=True)


def write_workspace(root: Path, sources: Path, n: int, network: str, *, scans: int = SCANS) -> None:
    """A workspace of n slices in scans of EACH, so many scans a patient; patterns are drawn by chance."""
    from ildfv.pipeline.roles import make_split
    from ildfv.store.atomic import sha256
    from ildfv.store.parts import Row, writing_parts
    from ildfv.store.workspace import Workspace
    from ildfv.train import networks

    register()
    random = np.random.default_rng(1)
    workspace = Workspace.open_or_create(root, version="bench", salt="0123456789abcdef", folds=FOLDS)
    with writing_parts(workspace.slices_dir, "bench") as parts:
        for scan in range(n // EACH):
            path = parts.path(f"{scan:016x}")
            with h5py.File(path, "x", libver=("v110", "v110")) as file:
                file["images"] = h5py.ExternalLink(str(sources / f"{scan % SOURCES}.h5"), "/images")
                file["counts"] = np.where(random.random((EACH, 4)) < 0.3, 9000, 100).astype(np.int32)
                file["lung"] = np.full(EACH, 60000, np.int32)
                file["positions"] = np.arange(EACH, dtype=np.float32)
                who = {"patient": f"{scan // scans:016x}", "series": path.stem}
                file.attrs.update(who | {"labelled": True, "pixel_area": 0.5, "phantom": True})
            parts.add(Row(path.stem, EACH, sha256(path)))
    make_split(workspace)
    model = networks.build(network, seed=0)
    networks.save(workspace.model_dir(network, 0), model, {"kind": "network"})


def register() -> None:
    from torch import nn

    from ildfv.train import networks

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
