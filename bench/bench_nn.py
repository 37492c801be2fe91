"""Time and peak memory of the Fisher layer's forward and backward pass, plain torch and a residual-encoding layer.

    python bench/bench_nn.py                            # all shapes that fit in memory
    python bench/bench_nn.py --shapes small --out results/nn.json

Implementations compared, all float32 and with the same mixture:

    ours      ildfv.nn.FisherVector2d
    plain     the formulas as written, with the n·k·d differences in memory
    gemm      t² expanded, so that scores and moments are matrix products (float32; loses digits by cancellation)
    encoding  a residual encoder as PyTorch-Encoding computes it: softmax of scaled distances to k centres, then the
              weighted sum of residuals, with the n·k·d residuals in memory. Its output is smaller (k·d), so its cost is
              a lower bound for a Fisher layer computed the same way
    netvlad   NetVLAD as published: softmax of a 1×1 convolution, then the weighted sum of the n·k·d residuals

Each implementation runs in its own process. Peak memory is the increase of the resident size since the start of the
first pass, or on CUDA the peak of the allocator. `least_bytes` is the computed lower bound of the peak, also of
implementations that are skipped because they need more than the free memory; netvlad-k64 and netvlad-k128 have the maps
of `netvlad` and fewer centres, so that all implementations fit. Times are the minimum of the repeats after one warm-up:
on the CPU, processor time of all threads, which depends little on other programs on the machine; on CUDA, wall time.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

# b, d, h, w, k
SHAPES = {
    "small": (8, 64, 28, 28, 16),
    "middle": (8, 256, 28, 28, 32),
    "wide": (4, 512, 14, 14, 64),
    "netvlad-quarter": (1, 256, 32, 32, 256),  # a sixteenth of the next one's n·k·d, which fits into a few GB
    "netvlad-k64": (1, 256, 64, 64, 64),
    "netvlad-k128": (1, 256, 64, 64, 128),
    "netvlad": (1, 256, 64, 64, 1024),  # a NetVLAD layer in plain torch needs 25 GB here
}
SHARE = 0.6  # maximum fraction of the free memory that an implementation may need


def expected_bytes(method: str, shape: tuple[int, ...]) -> int:
    """A lower bound of the peak in float32: arrays of n·k·d values for implementations that store the differences.

    netvlad: three, the residuals, their products with the shares and the gradient. plain, encoding: also the squares.
    """
    b, d, h, w, k = shape
    arrays = {"netvlad": 3 * k * d, "plain": 4 * k * d, "encoding": 4 * k * d}
    return 4 * b * h * w * arrays.get(method, 4 * (k + d))


def build(method: str, shape: tuple[int, ...], device: str):
    """(module, maps) of an implementation."""
    import torch

    b, d, h, w, k = shape
    torch.manual_seed(0)
    maps = torch.randn(b, d, h, w).relu_()
    rows = maps.flatten(2).mT.reshape(-1, d)
    means = rows[torch.randperm(len(rows))[:k]].clone()
    variances = rows.var(0).expand(k, d).clone()
    if method == "ours":
        from ildfv.nn import FisherVector2d

        class Mixture:
            weights_, means_, variances_ = torch.full((k,), 1 / k), means, variances

        layer = FisherVector2d.from_mixture(Mixture())
    else:
        layer = torch.nn.Module()
        for name, value in (("logits", torch.zeros(k)), ("means", means), ("log_variances", variances.log())):
            setattr(layer, name, torch.nn.Parameter(value))
        forward = {"plain": plain, "gemm": gemm, "encoding": encoding, "netvlad": netvlad}[method]
        layer.forward = lambda maps: forward(layer, maps)
    return layer.to(device), maps.to(device).requires_grad_()


def _normalised(parts):
    import torch

    raw = torch.cat(parts, 2).flatten(1)
    rooted = raw.sign() * (raw.abs() + 1e-12).sqrt()
    return torch.nn.functional.normalize(rooted, dim=1)


def plain(layer, maps):
    """(b, 2·k·d)"""
    x, w = maps.flatten(2).mT, layer.logits.softmax(0)[:, None]
    t = (x[:, :, None] - layer.means) * (-0.5 * layer.log_variances).exp()  # (b, n, k, d)
    scores = layer.logits - 0.5 * (layer.log_variances.sum(1) + (t * t).sum(3))
    gamma = scores.softmax(2)[..., None]
    n = x.shape[1]
    return _normalised([(gamma * t).sum(1) / (n * w.sqrt()), (gamma * (t * t - 1)).sum(1) / (n * (2 * w).sqrt())])


def gemm(layer, maps):
    """(b, 2·k·d)"""
    x, w = maps.flatten(2).mT, layer.logits.softmax(0)[:, None]
    inverse, x2, n = (-layer.log_variances).exp(), x * x, x.shape[1]
    pull = layer.means * inverse
    constant = layer.logits - 0.5 * (layer.log_variances + layer.means * pull).sum(1)
    gamma = (x @ pull.T - 0.5 * (x2 @ inverse.T) + constant).softmax(2)
    s0, sx, sxx = gamma.sum(1)[..., None], gamma.mT @ x, gamma.mT @ x2
    first = (sx - s0 * layer.means) * inverse.sqrt()
    second = (sxx - 2 * layer.means * sx + s0 * layer.means**2) * inverse - s0
    return _normalised([first / (n * w.sqrt()), second / (n * (2 * w).sqrt())])


def encoding(layer, maps):
    """(b, k·d)"""
    x = maps.flatten(2).mT
    residuals = x[:, :, None] - layer.means  # (b, n, k, d)
    share = (layer.logits - 0.5 * (residuals * residuals).sum(3)).softmax(2)
    return _normalised([(share[..., None] * residuals).sum(1)])


def netvlad(layer, maps):
    """(b, k·d)"""
    import torch

    x = maps.flatten(2).mT
    share = torch.nn.functional.conv2d(maps, layer.means[..., None, None], layer.logits).flatten(2).mT.softmax(2)
    residuals = x[:, :, None] - layer.means  # (b, n, k, d)
    return _normalised([(share[..., None] * residuals).sum(1)])


def measure(method: str, shape: tuple[int, ...], device: str, repeats: int) -> dict:
    """Seconds and peak bytes of one implementation, in this process."""
    import torch

    layer, maps = build(method, shape, device)
    cuda = device.startswith("cuda")

    def now() -> float:
        if not cuda:
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    tiny = torch.randn(1, 2, 3, requires_grad=True)
    (tiny @ tiny.mT).sum().backward()  # libraries allocate on first use
    if cuda:
        layer(maps).sum().backward()
        torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated() if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    times: dict[str, list[float]] = {"forward": [], "backward": []}
    for _ in range(repeats + 1):
        maps.grad = None
        layer.zero_grad()
        start = now()
        loss = layer(maps)[:, ::3].sum()
        middle = now()
        loss.backward()
        times["forward"].append(middle - start)
        times["backward"].append(now() - middle)
    peak = torch.cuda.max_memory_allocated() if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    seconds = {f"{name}_s": min(values[1:]) for name, values in times.items()}
    return {**seconds, "peak_bytes": peak - before, "threads": torch.get_num_threads()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--methods", nargs="+", default=["ours", "plain", "gemm", "encoding", "netvlad"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.one[0], SHAPES[given.one[1]], given.device, given.repeats)))
        return
    from rows import Results

    results = Results(given.out, {"device": given.device, "shapes": {name: SHAPES[name] for name in given.shapes}})
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for name in given.shapes:
        for method in given.methods:
            needed = expected_bytes(method, SHAPES[name])
            if given.device == "cpu" and needed > SHARE * free:
                skipped = f"needs at least {needed / 1e9:.0f} GB"
                results.add(shape=name, method=method, least_bytes=needed, skipped=skipped)
            else:
                own = [sys.executable, __file__, "--one", method, name, "--device", given.device]
                with results.contestant(shape=name, method=method):
                    ended = subprocess.run(
                        [*own, "--repeats", str(given.repeats)], capture_output=True, text=True, check=True
                    )
                    results.add(shape=name, method=method, least_bytes=needed, **json.loads(ended.stdout))
            print(results.found["rows"][-1], flush=True)


if __name__ == "__main__":
    main()
