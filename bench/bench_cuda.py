"""Moments on a GPU compared with alternatives: time, lower bound and ratio for each shape. Requires torch and CuPy.

    python bench/bench_cuda.py [--out FILE.json] [--shapes conv1 fc6] [--seconds 0.3] [--variants]

Device times are sums of the times of kernels in torch's profiler and exclude the host. Times of calls are medians
between events and include the host. Inputs alternate, so that no cache holds them. The floor is the larger of bytes /
copy bandwidth and operations / FP32 rate; both rates are measured in the same run. The file is written after each
implementation; an implementation that fails has a row with its error.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
from datetime import date
from importlib.util import find_spec

import numpy as np
import torch
from rows import Results

from ildfv.kernels.cuda import launches, moments
from ildfv.kernels.cuda.build import build_kind
from ildfv.kernels.cuda.device import device_of

# Descriptors per slice n, dimensions d, components k, slices per call: enough to make launches negligible.
SHAPES = {
    "conv1": (2916, 64, 32, 1024),
    "conv2": (729, 256, 32, 1024),
    "conv5": (169, 256, 32, 4096),
    "conv1-k256": (2916, 64, 256, 256),
    "fc6": (1, 4096, 32, 1024),
}
FEW = 64  # slices per call, like a batch of a network
INPUTS = 2  # alternating batches; each is larger than all caches, or its results are (fc6)
PEAKY, SOFT = 3.0, 0.2


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--out")
    options.add_argument("--shapes", nargs="*", choices=SHAPES, default=list(SHAPES))
    options.add_argument("--seconds", type=float, default=0.3, help="duration of each measurement")
    options.add_argument("--variants", action="store_true", help="also measure each variant of the kernel")
    options.add_argument("--only-ildfv", action="store_true", help="omit the alternatives")
    given = options.parse_args()

    bandwidth, matrix, vector = copy_bandwidth(), matrix_rate(), vector_rate()
    found = {
        "date": date.today().isoformat(),
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "way": build_kind(),
        "copy_bandwidth": bandwidth,
        "matrix_rate_float32": matrix,
        "vector_rate_float32": vector,
        "seconds": given.seconds,
        "rows": [],
    }
    results = Results(given.out, found)
    for name in given.shapes:
        for posteriors, spread in (("peaky", PEAKY), ("soft", SOFT)):
            with results.contestant(shape=name, posteriors=posteriors, who="all"):
                measure(name, posteriors, spread, results, given)
    show(found)
    sys.exit(any("error" in row for row in found["rows"]))


def measure(name: str, posteriors: str, spread: float, results: Results, given) -> None:
    """One row for each implementation on one shape."""
    n, d, k, b = SHAPES[name]
    weights, means, variances = mixture(k, d, spread)
    batches = [draws(weights, means, variances, b, n, seed) for seed in range(INPUTS)]
    floor = floor_of(n, d, k, posteriors, results.found)

    def run(label: str, function, inputs=batches, **extra) -> None:
        with results.contestant(shape=name, posteriors=posteriors, who=label):
            call = median_time(function, inputs, given.seconds)
            kernels = device_time(function, inputs, given.seconds)
            device = call if kernels is None else kernels
            results.add(
                timer="events" if kernels is None else "profiler",
                shape=name, posteriors=posteriors, who=label, seconds_per_slice=device / b,
                call_seconds_per_slice=call / b, floor_per_slice=floor, of_floor=floor * b / device, **extra,
            )  # fmt: skip

    def ours(x):
        return moments.moments(x, weights, means, variances)

    few = batches[0][:8]
    check(ours(few), gemm(torch, *on_device(weights, means, variances, "float64"))(few.double()))
    run("ildfv", ours)
    maps = [x.transpose(1, 2).contiguous().view(b, d, n, 1) for x in batches]
    run("ildfv, channel-first", ours, maps)
    run(f"ildfv, {FEW} slices per call", in_parts(ours, FEW))
    run("ildfv, float16", ours, [x.half() for x in batches])
    if given.variants and n > 1:
        for variant in launches.fitting_variants("float32", k, d, device_of(batches[0]).shared_limit):
            moments.set_variant(variant)
            run(f"ildfv, {variant}", ours)
        moments.set_variant(None)
    if given.only_ildfv:
        return

    parameters = on_device(weights, means, variances, "float32")
    for tf32 in (False, True):
        torch.backends.cuda.matmul.allow_tf32 = tf32
        suffix = ", TF32" if tf32 else ""
        eager = gemm(torch, *parameters)
        with results.contestant(shape=name, posteriors=posteriors, who=f"torch GEMM{suffix}, any size"):
            size = best_part(eager, batches, b, given.seconds)
            run(f"torch GEMM{suffix}", in_parts(eager, size), slices_at_once=size)
            # Otherwise recompilations of earlier functions count towards the limit, and this one runs uncompiled.
            torch._dynamo.reset()
            compiled = in_parts(torch.compile(eager, dynamic=False), size)
            run(f"torch GEMM, compiled{suffix}", compiled, slices_at_once=size)
    torch.backends.cuda.matmul.allow_tf32 = False
    if find_spec("cupy"):
        import cupy

        arrays = [cupy.from_dlpack(x) for x in batches]  # torch and CuPy must both use the default stream
        function = gemm(cupy, *(cupy.asarray(a, dtype=cupy.float32) for a in (weights, means, variances)))
        with results.contestant(shape=name, posteriors=posteriors, who="CuPy GEMM, any size"):
            size = best_part(function, arrays, b, given.seconds)
            run("CuPy GEMM", in_parts(function, size), arrays, slices_at_once=size)


def gemm(xp, weights, means, variances):
    """The usual implementation: scores and moments as matrix products of x and x² with the parameters."""
    inverse = 1.0 / variances  # (k, d)
    linear, constant = (
        means * inverse,
        xp.log(weights)
        - 0.5 * ((means**2 * inverse).sum(1) + xp.log(variances).sum(1) + means.shape[1] * float(np.log(2 * np.pi))),
    )
    sd = variances**0.5

    def products(x):  # (b, n, d)
        squared = x * x
        scores = x @ linear.T - 0.5 * (squared @ inverse.T) + constant  # (b, n, k)
        top = scores.max(-1, keepdims=True)
        top = getattr(top, "values", top)  # torch also returns the indices
        e = xp.exp(scores - top)
        total = e.sum(-1, keepdims=True)
        gamma = e / total
        gamma = xp.where(gamma >= 1e-6, gamma, gamma * 0)
        turned = gamma.swapaxes(1, 2)  # (b, k, n)
        s0 = gamma.sum(1)[..., None]  # (b, k, 1)
        m1, m2 = turned @ x, turned @ squared  # (b, k, d)
        s1 = (m1 - s0 * means) / sd
        s2 = (m2 - 2 * means * m1 + s0 * means**2) * inverse
        return s0[..., 0], s1, s2, (top + xp.log(total)).sum((1, 2))

    return products


def in_parts(function, size: int):
    """The function over `size` slices at a time."""

    def run(x):
        return [function(x[i : i + size]) for i in range(0, len(x), size)]

    return run


def best_part(function, inputs: list, b: int, seconds: float) -> int:
    """The fastest number of slices at a time: a few leave the device idle, many exceed its cache."""
    sizes = [size for size in (4, 16, 64, 256) if size < b] + [b]
    return min(sizes, key=lambda size: median_time(in_parts(function, size), inputs, seconds / 3))


def mixture(k: int, d: int, spread: float):
    rng = np.random.default_rng(k * d)
    return (
        rng.dirichlet(np.full(k, 10.0)),
        rng.normal(size=(k, d)) * spread / np.sqrt(d / 8 + 1),
        rng.uniform(0.5, 2.0, (k, d)),
    )


def draws(weights, means, variances, b: int, n: int, seed: int):
    """Descriptors of the mixture, (b, n, d) on the device."""
    generator = torch.Generator("cuda").manual_seed(seed)
    weights, means, variances = on_device(weights, means, variances, "float32")
    component = torch.multinomial(weights, b * n, replacement=True, generator=generator)
    noise = torch.randn((b * n, means.shape[1]), device="cuda", generator=generator)
    return (means[component] + noise * variances[component].sqrt()).view(b, n, -1)


def on_device(weights, means, variances, dtype: str):
    return tuple(torch.as_tensor(a, dtype=getattr(torch, dtype), device="cuda") for a in (weights, means, variances))


def check(result, expected) -> None:
    """Compares the moments with those in float64, because times of wrong results are meaningless."""
    for a, e in zip(result, expected, strict=True):
        error = float((a.double() - e).norm() / e.norm())
        assert error < 1e-5, f"moments differ from float64 by {error:.1e}"


def floor_of(n: int, d: int, k: int, posteriors: str, ceilings: dict) -> float:
    """Lower bound of the seconds per slice, from bytes and operations (for peaky posteriors, only of the scores)."""
    written = 4 * (k + 2 * k * d + 1)
    moved = (4 * n * d + written) / ceilings["copy_bandwidth"]
    operations = (4 if posteriors == "peaky" else 8) * n * d * k
    return max(moved, operations / ceilings["vector_rate_float32"])


def copy_bandwidth() -> float:
    """Bytes read and written per second by a large copy on the device."""
    source = torch.randint(0, 255, (1 << 30,), dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.nbytes / median_time(lambda x: target.copy_(x), [source], 0.3)


def matrix_rate() -> float:
    """Operations per second of a large float32 matrix product without TF32."""
    torch.backends.cuda.matmul.allow_tf32 = False
    a = torch.randn((8192, 8192), device="cuda")
    return 2 * 8192**3 / median_time(lambda x: x @ a, [torch.randn_like(a)], 0.3)


def vector_rate() -> float:
    """Operations per second of the FP32 units: the larger of the rate of sgemm and clock × units.

    sgemm without TF32 runs on these units; the number in the datasheet assumes the boost clock.
    """
    properties = torch.cuda.get_device_properties(0)
    lanes = 64 if (properties.major == 8 and properties.minor == 0) or properties.major == 7 else 128
    clock = getattr(properties, "clock_rate", 0) * 1e3  # kHz, if torch provides it
    return max(matrix_rate(), 2 * lanes * properties.multi_processor_count * clock)


def device_time(function, inputs: list, seconds: float) -> float | None:
    """Total device time of the kernels and copies of a call: the mean over calls with alternating inputs.

    None if torch's profiler records no kernels, for example without CUPTI.
    """
    from torch.profiler import ProfilerActivity, profile

    calls = max(3, min(50, round(seconds / max(1e-5, median_time(function, inputs, seconds / 3)))))
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        for i in range(calls):
            function(inputs[i % len(inputs)])
        torch.cuda.synchronize()
    total = sum(event.self_device_time_total for event in profiled.key_averages())  # µs
    return total / 1e6 / calls if total else None


def median_time(function, inputs: list, seconds: float) -> float:
    """Median device time of a call with alternating inputs."""
    for x in inputs:  # compiles kernels and fills memory pools
        function(x)
    torch.cuda.synchronize()
    times, spent, i = [], 0.0, 0
    while spent < seconds or len(times) < 5:
        start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        function(inputs[i % len(inputs)])
        stop.record()
        stop.synchronize()
        times.append(start.elapsed_time(stop) / 1e3)
        spent += times[-1]
        i += 1
    return statistics.median(times)


def show(found: dict) -> None:
    """Prints a short table. "call ×" is the time of a call, including the host, divided by the device time."""
    print(f"{found['device']}, torch {found['torch']}, kernels by {found['way']}, {found['date']}")
    print(
        f"copy {found['copy_bandwidth'] / 1e12:.2f} TB/s, sgemm {found['matrix_rate_float32'] / 1e12:.1f} TFLOP/s, "
        f"FP32 units {found['vector_rate_float32'] / 1e12:.1f} TFLOP/s"
    )
    heads = ("device µs", "call ×", "floor µs", "of floor", "ildfv ×")
    print(f"{'shape':<12}{'posteriors':<12}{'who':<28}" + "".join(f"{head:>10}" for head in heads))
    ours = {(r["shape"], r["posteriors"]): r for r in found["rows"] if r["who"] == "ildfv" and "error" not in r}
    for row in found["rows"]:
        print(f"{row['shape']:<12}{row['posteriors']:<12}{row['who']:<28}", end="")
        if "error" in row:
            print(f"  {row['error']}")
            continue
        base = ours.get((row["shape"], row["posteriors"]), {}).get("seconds_per_slice", float("nan"))
        device = row["seconds_per_slice"]
        print(
            f"{device * 1e6:>10.3f}{row['call_seconds_per_slice'] / device:>10.2f}{row['floor_per_slice'] * 1e6:>10.3f}"
            f"{row['of_floor']:>10.1%}{device / base:>10.1f}"
        )


if __name__ == "__main__":
    main()
