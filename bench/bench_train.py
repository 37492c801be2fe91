"""CPU time of a training step of CNN-F (16 slices of noise), compared with its matrix products. Requires torch.

    python -m bench.bench_train [--rounds 7] [--threads 2] [--out FILE.json]

The floor is the time of the convolutions and matrix products of the network alone, forward and backward, plus the
optimizer's pass over the weights. Each product is over all 16 slices, in its faster memory layout and in memory that is
already allocated. Products and steps alternate, in float32 and, if the CPU multiplies bfloat16 natively, in bfloat16.
Times are CPU milliseconds of all threads; the medians of the rounds are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch.nn import functional as F

from bench.bench_shards import SLICES, one_step
from bench.machine import machine
from ildfv.streaming.allocator import freed_memory_kept
from ildfv.train.precision import multiplies_bfloat16

CONVOLUTIONS = {  # inputs, outputs, kernel, stride, padding, side, how many
    "conv1": (3, 64, 11, 4, 0, 224, 1),
    "conv2": (64, 256, 5, 1, 2, 27, 1),
    "conv3–5": (256, 256, 3, 1, 1, 13, 3),
}
LINEAR = {"fc6": (9216, 4096), "fc7": (4096, 4096)}
LAYOUTS = {"channels first": torch.contiguous_format, "channels last": torch.channels_last}
WEIGHTS = 57_000_000


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    options.add_argument("--out", type=Path)
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    kinds = [torch.float32] + [torch.bfloat16] * multiplies_bfloat16()
    with freed_memory_kept():
        found = measured(kinds, given.rounds)
    for row in found:
        print(f"{row['name']:<28}{row['ms']:8.0f} ms{row['floors']:8.2f} × floor{row['one shard']:8.2f} × one shard")
    if given.out:
        load = {"load": os.getloadavg()[0], "threads": given.threads, "rounds": given.rounds}
        given.out.write_text(json.dumps({"machine": machine(), **load, "rows": found}, indent=1) + "\n")


def measured(kinds: list[torch.dtype], rounds: int) -> list[dict]:
    runs: dict[tuple[str, str, str], Callable] = {}  # (kind, part, variant) → measured function
    for kind in kinds:
        name = str(kind).removeprefix("torch.")
        for part, layout, run in products(kind):
            runs[name, part, layout] = run
        for shards in (1, 2):
            runs[name, f"{shards} shards", ""] = one_step(shards, bfloat16=kind is torch.bfloat16)
    times: dict[tuple[str, str, str], list[float]] = {key: [] for key in runs}
    for number in range(rounds + 1):
        for key, run in runs.items():
            started = time.process_time()
            run()
            if number:  # the first round warms up
                times[key].append(1e3 * (time.process_time() - started))
    rows = []
    for name in dict.fromkeys(key[0] for key in runs):
        mine = {key[1:]: median(t) for key, t in times.items() if key[0] == name}
        parts = dict.fromkeys(part for part, _ in mine if "shards" not in part)
        floor = sum(min(t for (other, _), t in mine.items() if other == part) for part in parts)
        one = mine["1 shards", ""]
        named = {"floor": floor, "one shard": one, "two shards": mine["2 shards", ""]}
        rows += [
            {
                "name": f"{name}, {what}",
                "ms": round(t, 1),
                "floors": round(t / floor, 3),
                "one shard": round(t / one, 3),
            }
            for what, t in named.items()
        ]
    return rows


def products(kind: torch.dtype):
    """(name, layout, function) of each product of a step, and of the optimizer."""
    for name, (inputs, outputs, size, stride, padding, side, count) in CONVOLUTIONS.items():
        for layout, memory in LAYOUTS.items():
            x = torch.randn(SLICES, inputs, side, side).to(kind, memory_format=memory)
            w = torch.randn(outputs, inputs, size, size).to(kind, memory_format=memory)
            gradient = torch.randn_like(F.conv2d(x, w, None, stride, padding))

            def convolve(x=x, w=w, gradient=gradient, o=(stride, padding), count=count, first=name == "conv1"):
                o2 = ([o[0]] * 2, [o[1]] * 2, [1, 1], False, [0, 0], 1, [not first, True, True])
                for _ in range(count):
                    F.conv2d(x, w, None, *o)
                    torch.ops.aten.convolution_backward(gradient, x, w, [w.shape[0]], *o2)

            yield name, layout, convolve
    for name, (inputs, outputs) in LINEAR.items():
        x, w, gradient = (
            torch.randn(shape).to(kind) for shape in ((SLICES, inputs), (outputs, inputs), (SLICES, outputs))
        )
        out = torch.empty(outputs, inputs, dtype=kind)
        yield name, "", lambda x=x, w=w, g=gradient, out=out: (F.linear(x, w), g @ w, torch.mm(g.T, x, out=out))
    weights = torch.nn.Parameter(torch.zeros(WEIGHTS))
    weights.grad = torch.ones(WEIGHTS)
    yield "optimizer", "", torch.optim.AdamW([weights], lr=1e-6, fused=True).step


if __name__ == "__main__":
    main()
