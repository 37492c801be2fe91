"""Overhead of encoding: the Fisher pass compared with a bare loop that reads slices and runs the network to the layer.

    python -m bench.bench_encode [--slices 800] [--rounds 5] [--threads 2] [--layer conv1] [--out FILE.json]

bare: reads a batch, runs CNN-F up to the layer, and continues with the next batch. side_by_side: the same two steps in
the workers of the encoder's stream, the minimum cost of a pass over the slices. encode: the pass of `ildfv encode`,
which also encodes and writes the parts of Fisher vectors to disk. All three run on the same slices, interleaved, in one
process. `ratio` is the median over rounds of encode divided by bare, `ratio_to_side_by_side` the median of encode
divided by side_by_side. Then each stage is measured alone. CPU milliseconds are summed over all cores.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--slices", type=int, default=800)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--layer", default="conv1")
    options.add_argument("--folder", type=Path, help="default: the temporary folder")
    options.add_argument("--out", type=Path, help="default: bench/results/encode-DATE.json")
    given = options.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(given.threads)  # read when torch and the kernel are loaded
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line sets it
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="ildfv-encode-") as folder:
        found = measure(given, Path(folder))
    out = given.out or Path(__file__).parent / "results" / f"encode-{date.today().isoformat()}.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps({name: value for name, value in found.items() if name != "rounds"}, indent=1))
    print(out)


def measure(given, folder: Path) -> dict:
    import torch

    from bench.linked_slices import write_sources, write_workspace
    from bench.machine import machine
    from ildfv.estimators.fisher import FisherVector
    from ildfv.pipeline.encode import EncodeSettings
    from ildfv.pipeline.fisher import FisherVectors
    from ildfv.pipeline.mixture import _start
    from ildfv.pipeline.workspace import Workspace
    from ildfv.progress import SILENT
    from ildfv.streaming.maps import MapStream, batches
    from ildfv.train.activations import Activations
    from ildfv.train.networks import load

    write_sources(folder / "sources")
    write_workspace(folder / "workspace", folder / "sources", given.slices, "cnnf", scans=1)
    workspace = Workspace.open(folder / "workspace")
    slices = workspace.slices()
    activations = Activations(load(workspace.model_dir("cnnf", 0), "cpu"), given.layer)
    settings = EncodeSettings(layer=given.layer, seed=0).with_batch_size(activations)
    cut = batches(slices, range(len(slices)), settings.batch_size)
    mixture = _start(MapStream(slices, activations, cut), settings)
    encoder = FisherVector(mixture)

    def bare() -> None:
        for batch in cut:
            activations(slices.images(batch))

    def side_by_side() -> None:
        for _ in MapStream(slices, activations, cut):
            pass

    def encode() -> None:
        shutil.rmtree(folder / "fisher", ignore_errors=True)
        FisherVectors(folder / "fisher", slices, activations, encoder, 2 * mixture.means_.size, settings).write(SILENT)

    def read() -> None:
        for batch in cut:
            slices.images(batch)

    images = [slices.images(batch) for batch in cut[:20]]
    maps = [activations(one) for one in images]
    alone: dict[str, tuple[Callable, int]] = {
        "read": (read, len(slices)),
        "network": (lambda: [activations(one) for one in images], sum(map(len, images))),
        "fisher": (lambda: [encoder.transform(one) for one in maps], sum(map(len, maps))),
    }
    loops = {"bare": bare, "side_by_side": side_by_side, "encode": encode}
    for loop in loops.values():
        loop()
    rounds = []
    for _ in range(given.rounds):
        load_average = os.getloadavg()[0]
        work = {name: seconds(loop) for name, loop in loops.items()}
        rounds.append({**{name: wall for name, (wall, _) in work.items()}, "load_average": load_average})
        rounds[-1]["cpu"] = {name: cpu for name, (_, cpu) in work.items()}
    stages = {name: 1000 * min(seconds(work)[0] for _ in range(3)) / n for name, (work, n) in alone.items()}
    ms = {name: [1000 * one[name] / len(slices) for one in rounds] for name in loops}
    cpu = {name: 1000 * statistics.median(one["cpu"][name] for one in rounds) / len(slices) for name in loops}

    def ratio(to: str) -> float:
        return statistics.median(e / b for e, b in zip(ms["encode"], ms[to], strict=True))

    return {
        "what": __doc__.splitlines()[0],
        "date": date.today().isoformat(),
        "machine": machine(),
        "layer": given.layer,
        "slices": len(slices),
        "threads": {"omp": given.threads, "torch": torch.get_num_threads()},
        "ratio": ratio("bare"),
        "ratio_to_side_by_side": ratio("side_by_side"),
        "ms_per_slice": {name: {"median": statistics.median(v), "best": min(v)} for name, v in ms.items()},
        "cpu_ms_per_slice": cpu,
        "ms_per_slice_of_stages_alone": stages,
        "rounds": rounds,
    }


def seconds(work: Callable) -> tuple[float, float]:
    """Wall time, and CPU time of all cores, in seconds."""
    started, busy = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started, time.process_time() - busy


if __name__ == "__main__":
    main()
