"""Cost of `contributions` for C patterns relative to `moments`, on the CPU.

    python -m bench.bench_contributions [-w STUDY] [--shapes conv1,conv5] [--patterns 4] [--threads 1] [--rounds 15]
        [--isa avx512]

Every round runs moments and then contributions; the result is the median of the ratios of all rounds. Times are
CPU times of the process, which other work on the machine affects less than wall times. Goal: a ratio of at most 1.5 at
conv1 for four patterns. -w: use maps and mixtures of a trained study instead of a network with random weights.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from bench import data
from ildfv.kernels import cpu

SECONDS = 0.1  # per measurement


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-w", "--workspace", type=Path, default=None)
    parser.add_argument("--shapes", default="conv1,conv5")
    parser.add_argument("--kinds", default="peaky,soft")
    parser.add_argument("--patterns", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--isa", default=None)
    arguments = parser.parse_args()
    cpu.set_instruction_set(arguments.isa)
    cpu.set_num_threads(arguments.threads)
    print(f"{cpu.instruction_set()}, threads: {arguments.threads}, patterns: {arguments.patterns}, CPU time")
    for shape in arguments.shapes.split(","):
        for kind in arguments.kinds.split(","):
            if kind == "peaky" and arguments.workspace is not None:
                maps, mixture = of_study(arguments.workspace, shape)
            else:
                maps, mixture = getattr(data, kind)(shape)
            print(f"{shape} {kind}: {line(maps, mixture, arguments.patterns, arguments.rounds)}")


def line(maps: np.ndarray, mixture, patterns: int, rounds: int) -> str:
    rng = np.random.default_rng(0)
    k, d = np.shape(mixture[1])
    first, second = (rng.normal(size=(len(maps), patterns, k, d)) for _ in range(2))
    contestants = {
        "moments": lambda: cpu.moments(maps, *mixture),
        "contributions": lambda: cpu.contributions(maps, *mixture, first, second),
    }
    for run in contestants.values():
        run()
    seconds = {name: np.array([0.0] * rounds) for name in contestants}
    for i in range(rounds):
        for name, run in contestants.items():
            seconds[name][i] = turn(run)
    ratio = np.median(seconds["contributions"] / seconds["moments"])
    low, high = np.quantile(seconds["contributions"] / seconds["moments"], [0.25, 0.75])
    each = ", ".join(f"{name} {1e3 * np.median(values) / len(maps):.2f} ms" for name, values in seconds.items())
    posteriors = components_per_descriptor(maps, mixture)
    ratios = f"ratio {ratio:.2f} (quartiles {low:.2f}, {high:.2f})"
    return f"{each} per map; {ratios}; components per descriptor: {posteriors:.1f}"


def turn(run) -> float:
    """CPU seconds of one run, averaged over as many runs as fit into SECONDS."""
    start, runs = time.process_time(), 0
    while True:
        run()
        runs += 1
        spent = time.process_time() - start
        if spent >= SECONDS:
            return spent / runs


def components_per_descriptor(maps: np.ndarray, mixture) -> float:
    """Number of posteriors per descriptor that are not pruned, estimated from some of the descriptors."""
    from ildfv.kernels import reference

    x = maps[0][:: max(1, len(maps[0]) // 200)].astype(np.float64)
    gamma, _ = reference.posteriors(x, *(np.asarray(a, np.float64) for a in mixture))
    return float((gamma >= 1e-6).sum() / len(x))


def of_study(root: Path, layer: str):
    """Maps (8, n, d) of held-out slices of a study and the mixture of its encoding of the layer."""
    from ildfv.pipeline.encodings import newest
    from ildfv.pipeline.projector import projector
    from ildfv.pipeline.split import load_folds, split_slices
    from ildfv.pipeline.workspace import Workspace

    workspace = Workspace.open(root)
    encoding = newest(workspace, layer=layer)
    project, slices = projector(workspace, encoding), workspace.slices()
    test = split_slices(slices, load_folds(workspace), encoding.fold).test
    found = project.maps(slices.images(test[np.linspace(0, len(test) - 1, 8).astype(int)])).numpy()
    mixture = project.fisher.mixture
    maps = np.ascontiguousarray(np.moveaxis(found.reshape(*found.shape[:2], -1), 1, 2))
    return maps, (mixture.weights_, mixture.means_, mixture.variances_)


if __name__ == "__main__":
    main()
