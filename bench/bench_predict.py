"""Time and memory of `ildfv predict` for a new CT of 300 slices: seconds until the first slice, and of each stage.

    python -m bench.bench_predict [--slices 300] [--layer conv1] [--threads 2] [--folder DIR] [--out FILE.json]

A phantom patient is written as a DICOM series; the predictor has CNN-F with random weights up to the layer (filters,
patches and filters+patches use no network), a mixture of 32 components and 512 dimensions, fitted on a small phantom
study: times do not depend on the weights. Each run is the command in a new process (`bench.predict_stages`). The run
with the median CPU seconds is reported. Stages are wall seconds from the start of the process. CPU seconds and the load
of the machine are given too, because wall seconds depend on other processes. "answer": a run without files. "files":
a run with --out, which also writes contribution maps and all other files.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

PAPER = 10  # milliseconds per slice, Table 9
REPEATS = 3
GOALS = {"total": 20.0, "first_slice": 5.0, "peak_mb": 1500.0}
STAGES = {  # first and last mark of `bench.predict_stages`
    "imports": ("zero", "imports_done"),
    "headers": ("imports_done", "scan_found"),
    "reading": ("scan_found", "scan_read"),
    "scoring": ("scan_read", "scored"),  # with windows and lungs, which other threads prepare
    "maps": ("scored", "mapped"),
    "files": ("mapped", "written"),
}
RUN = Path(__file__).with_name("predict_stages.py")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--slices", type=int, default=300)
    options.add_argument("--layer", default="conv1")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--repeats", type=int, default=REPEATS)
    options.add_argument("--folder", type=Path, help="folder for scan and predictor; default: a temporary folder")
    options.add_argument("--out", type=Path, help="default: bench/results/predict-LAYER-DATE.json")
    given = options.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(given.threads)
    with tempfile.TemporaryDirectory(prefix="ildfv-predict-") as temporary:
        folder = given.folder or Path(temporary)
        scan, predictor = write_scan(folder, given.slices), write_predictor(folder, given.layer)
        cores = sorted(os.sched_getaffinity(0))[: given.threads]
        os.sched_setaffinity(0, cores)  # of this process and of those that it starts
        found = {
            name: measure(scan, predictor, given.slices, given.repeats, Path(temporary), out)
            for name, out in (("answer", None), ("files", Path(temporary) / "files"))
        }
    result = {"layer": given.layer, "slices": given.slices, "threads": len(cores), "paper_ms_per_slice": PAPER, **found}
    out = given.out or Path(__file__).parent / "results" / f"predict-{given.layer}-{date.today().isoformat()}.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{given.slices} slices, {given.layer}, {len(cores)} cores; wall seconds, [goals]")
    for name, one in found.items():
        print(text_of(name, one))
    print(f"written to {out}")


def text_of(name: str, one: dict[str, float]) -> str:
    """The numbers of one kind of run as text: wall seconds, with CPU seconds in parentheses."""
    goals = GOALS if name == "answer" else {"peak_mb": GOALS["peak_mb"]}

    def goal(key: str) -> str:
        return f" [{goals[key]:g}]" if key in goals else ""

    lines = [
        f"{name}, load {one['load']:.1f}",
        f"  end to end   {one['total']:.1f}{goal('total')} (CPU {one['cpu_total']:.1f})",
        f"  first slice  {one['first_slice']:.1f}{goal('first_slice')} (CPU {one['cpu_first_slice']:.1f})",
        f"  peak memory  {one['peak_mb']:.0f} MB{goal('peak_mb')}",
        *(f"  {stage:<12} {one[stage]:.1f} (CPU {one[f'cpu_{stage}']:.1f})" for stage in STAGES if stage in one),
        f"  of scoring   network {one['network']:.1f}, encoding {one['encoding']:.1f}",
        f"  ms per slice {one['ms_per_slice']:.1f} in total, {one['ms_per_slice_scoring']:.1f} for network and "
        f"encoding (paper: {PAPER})",
    ]
    return "\n".join(lines)


def write_scan(folder: Path, slices: int) -> Path:
    """The folder of a phantom series with this number of slices."""
    from ildfv.phantom import write_phantoms

    (patient,) = write_phantoms(folder / f"scan-{slices}", patients=1, seed=7, slices_per_scan=slices)
    return patient / "ct"


def write_predictor(folder: Path, layer: str) -> Path:
    """A predictor of this layer, of a small phantom study."""
    from ildfv.inference.predictor_location import INFO
    from ildfv.phantom import write_phantoms
    from ildfv.pipeline.encode import EncodeSettings, encode_slices
    from ildfv.pipeline.export import export_predictor
    from ildfv.pipeline.heads import JOINED
    from ildfv.pipeline.prepare import prepare_scans
    from ildfv.pipeline.regress import regress_encoding
    from ildfv.pipeline.split import write_folds
    from ildfv.pipeline.workspace import Workspace
    from ildfv.train.networks import build, save

    out, root = folder / f"predictor-{layer}", folder / "study"
    if (out / INFO).exists():
        return out
    if not (root / "folds.json").exists():
        write_phantoms(folder / "phantoms", patients=10, seed=1, slices_per_scan=8)
        prepare_scans(folder / "phantoms", root, seed=0)
        write_folds(Workspace.open(root))
    workspace = Workspace.open(root)
    untrained = set(layer.split(JOINED)) <= {"filters", "patches"}
    region = "lung" if untrained else "slice"
    if not untrained:
        save(workspace.model_dir("random", 0), build("cnnf", seed=1), {"kind": "network"})
    for one in layer.split(JOINED):
        encode_slices(root, EncodeSettings(layer=one, passes=1, region=region), device="cpu")
    given = {"head": "ridge", "target": "step"} if untrained else {}
    regress_encoding(root, layer=layer, region=region, **given)
    export_predictor(root, out, layer=layer, region=region, cnn=False)
    return out


def measure(
    scan: Path, predictor: Path, slices: int, repeats: int, temporary: Path, out: Path | None
) -> dict[str, float]:
    """The run with the median CPU seconds. out: folder for the files of the prediction; None: none."""
    runs = []
    for _ in range(repeats):
        stages = temporary / "stages.json"
        command = [sys.executable, str(RUN), str(stages), "predict", str(scan), "-p", str(predictor), "--json"]
        command += [] if out is None else ["--out", str(out), "--fresh"]
        load = os.getloadavg()[0]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
        runs.append({**json.loads(stages.read_text()), "load": load, "zero": 0.0, "cpu_zero": 0.0})
    one = sorted(runs, key=lambda run: run["cpu_total"])[len(runs) // 2]
    for stage, (first, last) in STAGES.items():
        if first in one and last in one:
            for kind in ("", "cpu_"):
                one[f"{kind}{stage}"] = one[f"{kind}{last}"] - one[f"{kind}{first}"]
    one["ms_per_slice"] = 1000 * one["total"] / slices
    one["ms_per_slice_scoring"] = 1000 * (one["network"] + one["encoding"]) / slices
    return one


if __name__ == "__main__":
    main()
