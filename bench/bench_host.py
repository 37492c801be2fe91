"""Host time of a call of `moments` on a GPU, measured on a stub device, which excludes CUDA calls and launches.

    python bench/bench_host.py [--calls 300] [--profile]

The stub is the package's torch device with tensors in host memory and launches that do nothing. The result is the
shortest of all calls in µs of processor time of this thread, which is hardly affected by other processes.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import time

import numpy as np
import torch

from ildfv.kernels.cuda import moments
from ildfv.kernels.cuda.device import TorchDevice
from ildfv.kernels.cuda.parameters import PreparedMixture

# Slices per call b, descriptors per slice n, dimensions d, components k; the first is conv1 of one batch.
SHAPES = [(16, 2916, 64, 32), (16, 729, 256, 32), (16, 2916, 64, 256), (16, 169, 256, 256), (64, 1, 4096, 1024)]


class StubDevice(TorchDevice):
    """A torch device whose tensors are in host memory, and whose kernels do nothing."""

    def __init__(self):
        self.name, self.key = "a stub", ("stub", 0)
        self.shared_limit, self.tensor_cores = 227 << 10, True
        self._torch, self._device, self._index = torch, torch.device("cpu"), 0

    def empty(self, shape, dtype):
        # Small results are set to 0, so that no log likelihood is NaN.
        make = self._torch.zeros if len(shape) == 1 and dtype == "float64" else self._torch.empty
        return make(shape, dtype=getattr(self._torch, dtype))

    def _pinned(self, tensor):
        return tensor

    def settle(self):
        pass

    def launch(self, kernel, grid, threads, shared_bytes, arguments):
        pass


def microseconds(call, calls: int) -> float:
    """The processor time of the fastest of `calls` calls, µs."""
    call()
    best = float("inf")
    for _ in range(calls):
        start = time.thread_time_ns()
        call()
        best = min(best, time.thread_time_ns() - start)
    return best / 1e3


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--calls", type=int, default=300)
    options.add_argument("--profile", action="store_true", help="profile the first shape")
    given = options.parse_args()
    torch.set_num_threads(1)
    device, rng = StubDevice(), np.random.default_rng(0)
    print(f"{'b, n, d, k':<24}{'arrays µs':>12}{'prepared µs':>13}{'list µs':>10}")
    for b, n, d, k in SHAPES:
        mixture = np.full(k, 1 / k), rng.normal(size=(k, d)), np.ones((k, d))
        prepared = PreparedMixture(*mixture)
        maps = torch.zeros((b, d, n, 1)) if n > 1 else torch.zeros((b, d, 1, 1))
        several = list(torch.zeros((b, n, d)))

        def call(parameters, given, pooled=False):
            moments.compute(device, given, *parameters, threshold=1e-6, pooled=pooled)

        times = [
            microseconds(lambda: call(mixture, maps), given.calls),  # noqa: B023
            microseconds(lambda: call(prepared.arrays, maps), given.calls),  # noqa: B023
            microseconds(lambda: call(prepared.arrays, several), given.calls),  # noqa: B023
        ]
        print(f"{f'{b}, {n}, {d}, {k}':<24}{times[0]:>12.1f}{times[1]:>13.1f}{times[2]:>10.1f}")
        if given.profile:
            with cProfile.Profile() as profile:
                for _ in range(given.calls):
                    call(prepared.arrays, maps)
            pstats.Stats(profile).sort_stats("tottime").print_stats(20)
            return


if __name__ == "__main__":
    main()
