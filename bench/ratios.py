"""Speed relative to each alternative: `python bench/ratios.py [--threads 1 2] [--shapes conv1 …] [--rounds 7]`.

`--kinds isotropic_peaky isotropic_soft` uses random mixtures without informative dimensions instead of activations.

Every round runs our kernel, each alternative and sgemm once, so that other load on the machine affects all of them
equally. A ratio is the median of the ratios of all rounds. A turn of one implementation consists of: a pause of REST
seconds, in which the threads of the previous turn stop spinning; uncounted runs for WARM seconds, which load the maps
into the cache, as after a network has computed them, and wake the threads; and as many runs as fit in SECONDS. Waiting
policies are each library's default (OMP_WAIT_POLICY and the like are unset): threads of ildfv and torch spin for some
milliseconds, those of OpenBLAS for 26. The results are written to bench/results/moments-cpu.json.
Goals for more than one descriptor per slice with peaky posteriors: at least 6 times as fast as the libraries, 2.5 times
as fast as the best GEMM and 1.5 times as fast as sgemm. With soft posteriors: 3 times as fast as the libraries and 1.2
times as fast as the best GEMM. Two threads: at least 1.8 times as fast as one.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import itertools
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
LIBRARIES = ("vlfeat", "scikit-image")
REST = 0.1  # seconds before a turn, until the threads of the previous turn no longer spin on the cores
WARM = 0.02  # seconds until the threads of a turn are awake and its memory is cached
AVX2 = {  # limits ildfv, OpenBLAS, MKL, torch, oneDNN and the loops of NumPy ≥ 2.4
    **{"ILDFV_ISA": "avx2", "OPENBLAS_CORETYPE": "Haswell", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    **{"ATEN_CPU_CAPABILITY": "avx2", "DNNL_MAX_CPU_ISA": "AVX2"},
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
}
SECONDS = 0.05  # per turn: many timer ticks and, with two threads, many scheduling decisions
UNSET = (  # the default of each library
    *("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"),
    *("OPENBLAS_THREAD_TIMEOUT", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"),
)


def machine() -> dict:
    """Machine and versions, on which the numbers depend."""
    from ildfv.kernels.cpu import instruction_set

    names = ("ildfv", "numpy", "torch", "scikit-image", "cyvlfeat")
    cpu = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    found = {d.metadata["Name"].lower(): d.version for d in importlib.metadata.distributions() if d.metadata["Name"]}
    return {
        "cpu": cpu[0] if cpu else platform.processor(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "python": platform.python_version(),
        "instruction_set": instruction_set(),
        "versions": {name: found.get(name) for name in names},
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def measure(threads: int, shapes: list[str], kinds: list[str], rounds: int, clock_name: str) -> list[dict]:
    """One row for each shape and kind of data."""
    import data
    import numpy as np
    import peers
    import torch
    from threadpoolctl import threadpool_limits

    from ildfv.kernels import cpu

    threadpool_limits(threads)
    torch.set_num_threads(threads)
    cpu.set_num_threads(threads)
    clock = time.thread_time if clock_name == "cpu" and threads == 1 else time.perf_counter
    square = np.random.default_rng(0).random((2048, 2048), dtype=np.float32)
    rows = []
    for shape in shapes:
        for kind in kinds:
            maps, mixture = getattr(data, kind)(shape)
            (b, n, d), k = maps.shape, len(mixture[0])
            runs = {"ours": peers.ours(mixture)}
            for name, prepare in peers.PEERS.items():
                try:
                    if n > 1 or name not in LIBRARIES:
                        runs[name] = prepare(mixture)
                except ImportError:
                    print(f"{name} is not installed", file=sys.stderr)
            runs["sgemm"] = lambda _, a=square: a @ a
            if threads > 1:
                runs["ours, 1 thread"] = one_thread(runs["ours"], cpu, threads)
            times = {name: [] for name in runs}
            for i in range(rounds + 1):  # the first run is a warm-up
                for name, run in runs.items():
                    spent = seconds(run, maps, clock)
                    if i:
                        times[name].append(spent)
            ours = np.array(times["ours"])
            speedup = {name: float(np.median(np.array(t) / ours)) for name, t in times.items() if name != "ours"}
            sgemm = 2 * 2048**3 / np.array(times["sgemm"])
            gemm = {name: ratio for name, ratio in speedup.items() if name.startswith(("numpy", "torch"))}
            del speedup["sgemm"]
            rows.append(
                {
                    "shape": shape, "n": n, "d": d, "k": k, "slices": b, "data": kind, "threads": threads,
                    "clock": "cpu" if clock is time.thread_time else "wall",
                    "ms_per_slice": float(np.median(ours)) * 1e3 / b,
                    "gflops_effective": float(np.median(8 * b * n * d * k / ours)) / 1e9,
                    "gflops_sgemm": float(np.median(sgemm)) / 1e9,
                    "times_sgemm": float(np.median(8 * b * n * d * k / ours / sgemm)),
                    "times_best_gemm": min(gemm.values()), "best_gemm": min(gemm, key=gemm.get),
                    "speedup": speedup,
                }
            )  # fmt: skip
            print(line(rows[-1]), flush=True)
    return rows


def seconds(run, maps, clock) -> float:
    """Seconds of one run, averaged over a turn."""
    time.sleep(REST)
    for least in (WARM, SECONDS):
        runs, start = 0, clock()
        while (spent := clock() - start) < least or runs == 0:
            run(maps)
            runs += 1
    return spent / runs


def one_thread(run, cpu, threads: int):
    def single(maps):
        cpu.set_num_threads(1)
        run(maps)
        cpu.set_num_threads(threads)

    return single


def line(row: dict) -> str:
    width = 15 if "_" in row["data"] else 5
    libraries = "  ".join(f"{name} {row['speedup'][name]:5.1f}×" for name in LIBRARIES if name in row["speedup"])
    scaling = f"  1 → {row['threads']} threads {row['speedup']['ours, 1 thread']:.2f}×" if row["threads"] > 1 else ""
    return (
        f"{row['threads']} thread{'s' if row['threads'] > 1 else ' '} {row['shape']:11} {row['data']:{width}} "
        f"{row['ms_per_slice']:7.3f} ms  sgemm {row['times_sgemm']:4.2f}×  "
        f"{row['best_gemm']:16} {row['times_best_gemm']:5.2f}×  {libraries}{scaling}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--shapes", nargs="+", default=["conv1", "conv2", "conv5", "conv1-k256", "fc6"])
    parser.add_argument("--kinds", nargs="+", default=["peaky", "soft"], help="functions of data.py")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="cpu: one thread while other jobs run")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "moments-cpu.json")
    parser.add_argument("--avx2", action="store_true", help="limit ours and the alternatives to AVX2")
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)  # results of a child process
    options = parser.parse_args()
    if options.rows:
        rows = measure(options.threads[0], options.shapes, options.kinds, options.rounds, options.clock)
        options.rows.write_text(json.dumps(rows))
        return
    rows = []
    for threads, shape in itertools.product(options.threads, options.shapes):
        # One child process each: OpenMP and BLAS read their settings once, and shapes must not share memory.
        part = options.out.with_suffix(f".{threads}.tmp")
        environment = {k: v for k, v in os.environ.items() if k not in UNSET} | {"OMP_NUM_THREADS": str(threads)}
        environment |= AVX2 if options.avx2 else {}
        environment["PYTHONPATH"] = os.pathsep.join((str(HERE.parent), environment.get("PYTHONPATH", "")))
        command = [sys.executable, __file__, "--threads", str(threads), "--rows", str(part), "--clock", options.clock]
        command += ["--rounds", str(options.rounds), "--shapes", shape, "--kinds", *options.kinds]
        subprocess.run(command, check=True, env=environment)
        rows += json.loads(part.read_text())
        part.unlink()
        options.out.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
