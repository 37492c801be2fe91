"""Time of a training step by number of shards: CNN-F, 16 slices of noise, interleaved. Requires torch.

    python -m bench.bench_shards [--shards 1,2,4] [--rounds 9] [--out FILE.json]
    OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 -m bench.bench_shards --shards 2

Prints median wall milliseconds per step, and their ratio to those of the first number of shards.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from bench.machine import machine
from ildfv import distributed
from ildfv.streaming.feeding import feed
from ildfv.train import losses, networks
from ildfv.train.data import Epoch
from ildfv.train.optimizer import make_optimizer
from ildfv.train.settings import TrainSettings
from ildfv.train.step import Step

SLICES = 16
CPU = torch.device("cpu")


class Noise:
    """Random slices in memory."""

    pixels = np.random.default_rng(0).integers(0, 256, (SLICES, 3, 224, 224), dtype=np.uint8)

    def images(self, indices) -> np.ndarray:
        return self.pixels[indices]


def one_step(shards: int, *, bfloat16: bool = False) -> Callable[[], None]:
    """A function that runs a training step of a new CNN-F on the same slices of noise."""
    network = networks.build("cnnf").train()
    loss = lambda f, indices: losses.logistic(f, torch.ones_like(f))  # noqa: E731
    step = Step(network, make_optimizer(TrainSettings(), network), loss, CPU, bfloat16)
    ((batch, images),) = feed(Epoch(Noise(), np.arange(SLICES), SLICES, 0, 0, shards=shards), CPU)
    return lambda: step(batch, images, 1, 1e-6)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--shards", default="1,2,3,4,6,8", help="numbers of shards, separated by commas")
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--out", type=Path)
    given = options.parse_args()
    distributed.start()
    numbers = [int(n) for n in given.shards.split(",")]
    steps = {n: one_step(n) for n in numbers}
    seconds: dict[int, list[float]] = {n: [] for n in numbers}
    for number in range(given.rounds + 1):
        for n, step in steps.items():
            started = time.perf_counter()
            step()
            if number:  # the first round warms up
                seconds[n].append(time.perf_counter() - started)
    if distributed.is_main():
        medians = {n: float(np.median(times)) for n, times in seconds.items()}
        rows = [{"shards": n, "ms": 1e3 * m, "ratio": m / medians[numbers[0]]} for n, m in medians.items()]
        for row in rows:
            print(f"{row['shards']} shards: {row['ms']:.0f} ms per step, {row['ratio']:.2f}")
        if given.out:
            ranks = {"ranks": distributed.size(), "threads": torch.get_num_threads()}
            found = {"machine": machine(), **ranks, "rows": rows}
            given.out.write_text(json.dumps(found, indent=1) + "\n")
    distributed.stop()


if __name__ == "__main__":
    main()
