"""CPU time for a list of many small maps relative to one array: moments, Fisher vectors, and the fit of a mixture.

    OMP_NUM_THREADS=1 python bench/bench_lists.py [--rounds 5]

400 maps of 166 descriptors of 18 dimensions, 32 components. Array and list take turns in every round. Results are
medians of processor time of this process in ms.
"""

from __future__ import annotations

import argparse
import resource
import warnings
from statistics import median

import numpy as np

from ildfv import FisherVector, GaussianMixture, moments

SHAPE, COMPONENTS = (400, 166, 18), 32


def processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    warnings.simplefilter("ignore")  # fits of a fixed number of passes do not converge
    array = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    once, ten = (GaussianMixture(COMPONENTS, random_state=0, max_iter=n, tol=0) for n in (1, 10))
    mixture = GaussianMixture(COMPONENTS, random_state=0, max_iter=1, tol=0).fit(array)
    runs = {
        "moments": lambda maps: moments(maps, mixture),
        "moments, pooled": lambda maps: moments(maps, mixture, pooled=True),
        "Fisher vectors": lambda maps: FisherVector(mixture).transform(maps),
        "mixture: start and one pass": once.fit,
        "mixture: start and ten passes": ten.fit,
    }
    for name, run in runs.items():
        times: dict[str, list[float]] = {"array": [], "list": []}
        for _ in range(rounds):
            for kind, maps in (("array", array), ("list", list(array))):
                start = processor_seconds()
                run(maps)
                times[kind].append(1e3 * (processor_seconds() - start))
        one, many = median(times["array"]), median(times["list"])
        print(f"{name:32}array {one:8.1f} ms   list {many:8.1f} ms   {many / one:5.2f} ×")


if __name__ == "__main__":
    main()
