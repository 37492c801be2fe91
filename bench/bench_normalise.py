"""Share of scaling and power normalisation in the time of the Fisher vectors of small maps.

    OMP_NUM_THREADS=1 python bench/bench_normalise.py [--rounds 15]

Every round measures the moments alone, the Fisher vectors of the kernel, and moments that are scaled and normalised in
NumPy. A share is 1 − time of the moments / time of the vectors, in thread time; the median of the rounds is printed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import numpy as np

from ildfv.estimators.fisher_vectors import vectors
from ildfv.kernels import cpu

SHAPES = ((166, 18, 32), (169, 256, 32), (729, 256, 32), (2916, 64, 32))  # n, d, k
SECONDS = 0.05  # per turn


def seconds(run: Callable[[], object]) -> float:
    """Seconds of one run, averaged over a turn."""
    runs, start = 0, time.thread_time()
    while (spent := time.thread_time() - start) < SECONDS:
        run()
        runs += 1
    return spent / runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    for n, d, k in SHAPES:
        random = np.random.default_rng(0)
        means = random.normal(size=(k, d))
        mixture = np.full(k, 1 / k), means, np.ones((k, d))
        b = max(1, 8192 // n)
        maps = (means[random.integers(k, size=(b, n))] + random.normal(size=(b, n, d))).astype(np.float32)
        counts = np.full(b, float(n))
        runs = {
            "moments": lambda m=maps, g=mixture: cpu.moments(m, *g),
            "kernel": lambda m=maps, g=mixture: cpu.fisher_vectors(m, *g),
            "NumPy": lambda m=maps, g=mixture, c=counts: vectors(cpu.moments(m, *g), c, g[0]),
        }
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(rounds):
            for name, run in runs.items():
                times[name].append(seconds(run))
        shares = {
            name: median(1 - one / whole for one, whole in zip(times["moments"], times[name], strict=True))
            for name in ("kernel", "NumPy")
        }
        per_map = 1e6 * median(times["moments"]) / b
        print(f"({n}, {d}, {k})  moments {per_map:6.1f} µs per map   normalisation: kernel {shares['kernel']:6.1%}, "
              f"NumPy {shares['NumPy']:6.1%}")  # fmt: skip


if __name__ == "__main__":
    main()
