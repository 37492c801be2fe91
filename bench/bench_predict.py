"""Prediction of a new CT of 300 slices: seconds of each stage and until the first slice is scored, and peak memory.

    python -m bench.bench_predict [--slices 300] [--layer conv1] [--threads 2] [--folder DIR] [--out FILE.json]

A phantom patient is written as a DICOM series; the predictor has CNN-F with random weights up to the layer (filters,
patches and filters+patches use no network), a mixture of 32 components and 512 dimensions, fitted on a small phantom
study: times do not depend on the weights. Each run is a new process, as the command starts one. Stages are wall seconds
of that process: start (imports), predictor, headers, reading (pixels to HU), preparing and scoring (windows and lungs
in threads; scoring alone is network, masks and encoding, and the network alone is timed again on the same slices), the
rest of predicting (statistics, JSON); CPU seconds of the process are also given. first_slice: seconds from the start of
the process until the first slice has scores. maps: the same for a run that writes contribution maps and all files.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

PAPER = 0.01  # seconds per slice, Table 9
REPEATS = 3

CHILD = """
import json, resource, sys, time
start = time.time() - float(sys.argv[4])
wall = time.time()
from pathlib import Path
from ildfv.datasets.discovery import discover
from ildfv.datasets.convert import read_volume
from ildfv.inference import predict as module
from ildfv.inference.outputs import write_prediction
from ildfv.inference.predictor import BATCH, Predictor
from ildfv.inference.prepared import prepared
from ildfv.scans.libraries import quiet
scan, folder, out = sys.argv[1:4]
took, last = {"start": start}, [wall]
def stage(name):
    now = time.time(); took[name] = now - last[0]; last[0] = now
import torch
stage("imports")
predictor = Predictor.load(folder)
stage("predictor")
found = discover(Path(scan), labels=False, workers=1)
chosen, _ = module.choose(found, None, Path(scan))
stage("headers")
with quiet():
    volume = read_volume(chosen)
stage("reading")
first = []
real = Predictor.batch_scores
def watched(self, *a):
    before = time.time()
    yield from real(self, *a)
    took["scoring"] = took.get("scoring", 0) + time.time() - before
    if not first: first.append(time.time())
Predictor.batch_scores = watched
real_prepared = module.prepared
def timed(*a, **k):
    before = time.time()
    found = real_prepared(*a, **k)
    took["preparing_and_scoring"] = time.time() - before
    return found
module.prepared = timed
prediction = module.predict_volume(predictor, volume, scan="x", contributions=bool(out))
if out: write_prediction(Path(out), prediction)
else: prediction.to_json()
stage("predicting")
total = time.time() - wall + start
usage = resource.getrusage(resource.RUSAGE_SELF)
cpu = usage.ru_utime + usage.ru_stime
before = time.time()
images = prediction.images
for name in predictor.info.networks or ["-"]:
    for i in range(0, len(images), BATCH): predictor.layers.of(images[i:i + BATCH])
network = time.time() - before
took |= {"network": network, "total": total, "first_slice": first[0] - wall + start, "cpu": cpu,
         "peak_mb": usage.ru_maxrss / 1024}
print(json.dumps(took))
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--slices", type=int, default=300)
    options.add_argument("--layer", default="conv1")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--folder", type=Path, help="folder for scan and predictor; default: a temporary folder")
    options.add_argument("--out", type=Path, help="default: bench/results/predict-LAYER-DATE.json")
    given = options.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(given.threads)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with tempfile.TemporaryDirectory(prefix="ildfv-predict-") as temporary:
        folder = given.folder or Path(temporary)
        scan, predictor = write_scan(folder, given.slices), write_predictor(folder, given.layer)
        found = {
            "answer": measure(scan, predictor, None),
            "maps": measure(scan, predictor, folder / "files"),
        }
    result = {"layer": given.layer, "slices": given.slices, "threads": given.threads, "paper_ms_a_slice": 1000 * PAPER}
    result |= found
    for one in found.values():
        one["ms_a_slice"] = 1000 * one["total"] / given.slices
        one["ms_a_slice_scoring"] = 1000 * one["scoring"] / given.slices
    out = given.out or Path(__file__).parent / "results" / f"predict-{given.layer}-{date.today().isoformat()}.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def write_scan(folder: Path, slices: int) -> Path:
    """The folder of a phantom series with this number of slices."""
    from ildfv.phantom import write_phantoms

    (patient,) = write_phantoms(folder / f"scan-{slices}", patients=1, seed=7, slices_per_scan=slices)
    return patient / "ct"


def write_predictor(folder: Path, layer: str) -> Path:
    """A predictor of this layer, of a small phantom study."""
    from ildfv.inference.predictor_files import INFO
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
        write_phantoms(folder / "phantoms", patients=10, seed=1)
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


def measure(scan: Path, predictor: Path, out: Path | None) -> dict[str, float]:
    """Medians over runs."""
    runs = []
    for _ in range(REPEATS):
        import time

        before = time.time()
        command = [sys.executable, "-c", CHILD, str(scan), str(predictor), str(out or ""), f"{before}"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        runs.append(json.loads(done.stdout))
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


if __name__ == "__main__":
    main()
