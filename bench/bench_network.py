"""The network on a GPU: training steps eager and compiled, prediction with and without CUDA graphs. Requires torch.

    python bench/bench_network.py [--network cnnf] [--slices 4096] [--batch 16 64] [--out FILE.json]

Times are wall times per slice in ms, synchronised with the device. Slices are random and in memory, so no disk is
involved. The time of the compiler is reported separately.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

import numpy as np
import torch
from rows import Results

from ildfv.streaming import feeding
from ildfv.train import networks
from ildfv.train.compiled import Compiled
from ildfv.train.data import Epoch
from ildfv.train.optimizer import make_optimizer
from ildfv.train.settings import TrainSettings
from ildfv.train.step import Step

DEVICE = torch.device("cuda", 0)


class Random:
    """Random slices in memory."""

    def __init__(self, n: int):
        self.pixels = np.random.default_rng(0).integers(0, 256, (n, 3, 224, 224), dtype=np.uint8)

    def images(self, indices) -> np.ndarray:
        return self.pixels[indices]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--network", default="cnnf")
    options.add_argument("--slices", type=int, default=4096)
    options.add_argument("--batch", type=int, nargs="*", default=[16, 64])
    options.add_argument("--out")
    given = options.parse_args()
    slices = Random(given.slices)
    found = {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "network": given.network}
    results = Results(given.out, found)
    print(f"{found['device']}, torch {found['torch']}, {given.network}")
    for batch in given.batch:
        for what, measure, way in (
            ("predict", predict, "eager"),
            ("predict", predict, "graphs"),
            ("train", train, "eager"),
            ("train", train, "compiled"),
        ):
            labels = {"what": what, "way": way, "batch": batch}
            with results.contestant(**labels):
                torch._dynamo.reset()
                results.add(**labels, **measure(given.network, slices, batch, way))
            show(results.found["rows"][-1])
    sys.exit(any("error" in row for row in results.found["rows"]))


def show(row: dict) -> None:
    first = f", first steps {row['first_seconds']:.1f} s" if "first_seconds" in row else ""
    said = row.get("error") or f"{row['ms_per_slice']:.4f} ms per slice{first}"
    print(f"{row['what']:<8} {row['way']:<9} batch {row['batch']:<4} {said}", flush=True)


def train(name: str, slices: Random, batch: int, way: str) -> dict:
    """ms per slice in one epoch without its first two steps, and the time of those."""
    settings = TrainSettings(network=name, batch_size=batch)
    network = networks.build(name).to(DEVICE).train()
    loss = lambda f, indices: torch.nn.functional.softplus(-f).sum(dim=1)  # noqa: E731
    compiled = Compiled(network, insist=True) if way == "compiled" else None
    step = Step(network, make_optimizer(settings, network), loss, DEVICE, compiled=compiled)
    n = len(slices.pixels) // batch * batch  # a single batch size, like nearly all batches of an epoch
    started, first, count = time.perf_counter(), 0.0, 0
    for number, (one, images) in enumerate(feeding.feed(Epoch(slices, np.arange(n), batch, 0, 0), DEVICE)):
        if number == 2:
            torch.cuda.synchronize()
            first, started, count = time.perf_counter() - started, time.perf_counter(), 0
        step(one, images, number, 1e-6)
        count += len(one.indices)
    torch.cuda.synchronize()
    return {"ms_per_slice": 1e3 * (time.perf_counter() - started) / count, "first_seconds": first}


def predict(name: str, slices: Random, batch: int, way: str) -> dict:
    """ms per slice without the first ten batches, in which graphs are captured."""
    os.environ["ILDFV_GRAPHS"] = "1" if way == "graphs" else "0"
    network = networks.build(name).to(DEVICE).eval()
    order = np.arange(len(slices.pixels) // batch * batch)
    cut = np.array_split(order, len(order) // batch)
    with torch.inference_mode():
        started, done = time.perf_counter(), 0
        for number, scores in enumerate(feeding.outputs(network, slices.images, cut, DEVICE, print)):
            if number == 9:
                started, done = time.perf_counter(), -len(scores)
            done += len(scores)
    return {"ms_per_slice": 1e3 * (time.perf_counter() - started) / done}


if __name__ == "__main__":
    main()
