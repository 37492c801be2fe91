"""Memory and time of encode and regress by number of slices, each size in a separate process.

    python -m bench.bench_scale [--slices 2000,20000,240000] [--network cnnf] [--folder FOLDER] [--out FILE.json]

The slices repeat: the images of all scans are links to a few files (linked_slices.py). Except for this, all reads and
writes are those of `ildfv encode` and `ildfv regress`. The page cache is more effective than it would be with 36 GB of
images. --network cnnf (default) is the paper's network with random weights. --network coarse is one convolution with
28×28 descriptors of 8 dimensions, to measure the memory for many slices quickly.

The same command resumes an interrupted run. The files in FOLDER take 20 KB per slice and are deleted when the result is
written. Wall and CPU seconds are summed over all runs; the last five seconds of a killed run are not counted. Peaks are
resident memory (VmHWM), reset at the start of each step. `compared` has the peaks, and the milliseconds per slice of
each step, divided by those of the largest size.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

from bench.linked_slices import register, write_sources, write_workspace
from bench.machine import machine
from bench.step_recorder import Recorder, summary

STEPS = "steps.jsonl"  # lines of the recorder


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
        wall, work = step["ms_per_slice"], step["cpu_ms_per_slice"]
        print(f"    {label:28} {wall:7.3f} ms per slice ({work:.3f} of all cores) {step['peak_mb']:7,.0f} MB")
    sys.stdout.flush()


def compared(measured: dict[int, dict]) -> dict:
    """By size: peak, and wall and CPU milliseconds per slice of each step, divided by those of the largest size."""
    largest = measured[max(measured)]

    def steps(one: dict, name: str) -> dict:
        both = [label for label in one["steps"] if label in largest["steps"]]
        return {label: round(one["steps"][label][name] / largest["steps"][label][name], 3) for label in both}

    return {
        n: {
            "peak": round(one["peak_mb"] / largest["peak_mb"], 3),
            **{name: steps(one, name) for name in ("ms_per_slice", "cpu_ms_per_slice")},
        }
        for n, one in measured.items()
    }


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


if __name__ == "__main__":
    main()
