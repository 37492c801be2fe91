"""Speed-up by a second thread on an otherwise idle machine: `python bench/threads.py`.

Medians of 5 interleaved bursts of 0.3 s, written to bench/results/threads.json. Shorter bursts would measure the
scheduler: a thread that has just been woken shares its core with the thread that woke it.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
from ratios import machine

from ildfv.kernels import cpu

SHAPES = ((2916, 64, 32), (729, 256, 32), (169, 256, 32), (2916, 64, 256))
DESCRIPTORS = 16 * 2916  # descriptors per call, as in a batch of conv1 maps
ROUNDS, SECONDS = 5, 0.3


def seconds_per_slice(maps: np.ndarray, mixture: tuple, threads: int) -> float:
    """Wall seconds per slice, averaged over one burst."""
    cpu.set_num_threads(threads)
    calls, start = 0, time.perf_counter()
    while time.perf_counter() - start < SECONDS:
        cpu.moments(maps, *mixture)
        calls += 1
    return (time.perf_counter() - start) / (calls * len(maps))


def main() -> None:
    random = np.random.default_rng(0)
    found = []
    for n, d, k in SHAPES:
        slices = DESCRIPTORS // n
        means = random.normal(size=(k, d))
        rows = random.normal(size=(slices * n, d))
        peaky = (means[random.integers(k, size=slices * n)] + rows).astype(np.float32).reshape(slices, n, d)
        soft = rows.astype(np.float32).reshape(slices, n, d)
        for name, maps, at in (("peaky", peaky, means), ("soft", soft, 0.05 * means)):
            mixture = np.full(k, 1 / k), at, np.ones((k, d))
            one, two = np.array([[seconds_per_slice(maps, mixture, t) for t in (1, 2)] for _ in range(ROUNDS)]).T
            gain = np.median(one / two)
            found.append({"n": n, "d": d, "k": k, "slices": slices, "data": name, "gain": float(gain)})
            found[-1] |= {"ms_per_slice": [1e3 * float(np.median(one)), 1e3 * float(np.median(two))]}
            print(f"({n}, {d}, {k}) {name:5}  {1e3 * np.median(one):.3f} → {1e3 * np.median(two):.3f} ms  {gain:.2f}×")
    out = Path(__file__).parent / "results" / "threads.json"
    out.write_text(json.dumps({"machine": machine(), "rows": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
