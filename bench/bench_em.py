"""EM on a CPU: time of a pass compared with scikit-learn and NumPy, memory for 20,000,000 descriptors, likelihood.

    python bench/bench_em.py [pass] [disk] [passes] [--out FILE.json] [--folder FOLDER] [--rounds N]

pass: seconds for one pass of EM over 1,000,000 × 64 float32 at k = 32, with one thread and with two: medians of N
rounds (7) in which all implementations take turns, and the ratio to the time of ildfv in each round (median, minimum,
maximum). NumPy's GEMM pass uses its best chunk size. Each turn starts with a pause, in which the threads of the
previous turn stop spinning, and a pass that is not counted.
disk: peak memory and seconds of a fit to 20,000,000 × 64 float32 in HDF5 (5 GB in FOLDER, deleted at the end).
passes: mean log likelihood after 1, 2, 3 … passes of exact and stepwise EM, compared with EM run to convergence.
Goals: at least 3 times as fast as scikit-learn and 1.5 times as fast as NumPy GEMM; disk: less than 1000 MB. The exit
status is 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from datetime import date
from pathlib import Path

import numpy as np

K, D = 32, 64
PASS_ROWS, DISK_ROWS = 1_000_000, 20_000_000
REST = 0.1  # seconds; OpenBLAS's threads spin for 26 ms
HERE = Path(__file__)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("what", nargs="*", help="pass, disk or passes; default: all")
    options.add_argument("--out", type=Path, help="default: bench/results/em-DATE.json")
    options.add_argument("--folder", type=Path, help="folder with 5 GB of space; default: the temporary folder")
    options.add_argument("--rounds", type=int, default=7, help="rounds of `pass`")
    options.add_argument("--child", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.child:  # a separate process for each number of threads, and to measure a separate memory peak
        name, *arguments = given.child.split(":")
        print(json.dumps(CHILDREN[name](*arguments)))
        return
    found = {"date": date.today().isoformat(), "machine": machine(), "versions": versions()}
    benches = {"pass": one_pass, "disk": disk, "passes": passes}
    for what in given.what or benches:
        found[what] = benches[what](given)
        print(json.dumps({what: found[what]}, indent=1))
    out = given.out or HERE.parent / "results" / f"em-{found['date']}.json"
    found["missed"] = missed(found)
    out.write_text(json.dumps(found, indent=1) + "\n")
    print(out, *found["missed"], sep="\n")
    sys.exit(bool(found["missed"]))


def missed(found: dict) -> list[str]:
    """One line for each goal that was measured and missed."""
    runs = [(kind, n, run["times_faster"]) for kind, by in found.get("pass", {}).items() for n, run in by.items()]
    lines = [
        f"{kind}, threads: {n}: {ratio[name]['median']:.2f} times {name}, goal {goal}"
        for kind, n, ratio in runs
        for name, goal in (("scikit-learn", 3.0), ("best numpy_gemm", 1.5))
        if ratio[name]["median"] < goal
    ]
    peak = max((value for name, value in found.get("disk", {}).items() if name.startswith("peak_mb")), default=0.0)
    return lines + ([f"disk: {peak:.0f} MB, goal 1000"] if peak >= 1000 else [])


def child(call: str, threads: int) -> dict:
    """The result of `call` in a new process with this number of threads."""
    environment = os.environ | {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "OPENBLAS", "MKL")}
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):  # the alternatives run with their best settings
        environment.pop(name, None)
    command = [sys.executable, str(HERE), "--child", call]
    return json.loads(subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout)


# -- one pass ------------------------------------------------------------------------------------------------------


def one_pass(given) -> dict:
    kinds = ("activations", "overlapping")
    return {kind: {str(n): child(f"pass:{kind}:{given.rounds}", n) for n in (1, 2)} for kind in kinds}


def time_pass(kind: str, rounds: str) -> dict:
    """Seconds of one pass of each implementation, from the same parameters."""
    from peers import numpy_gemm
    from sklearn.mixture import GaussianMixture as Peer

    from ildfv import GaussianMixture

    x = descriptors(kind, PASS_ROWS)  # (n, d) float32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        at = GaussianMixture(K, max_iter=10).fit(x[:: PASS_ROWS // 50_000])
    start = {"weights_init": at.weights_, "means_init": at.means_, "variances_init": at.variances_}
    peer = Peer(K, covariance_type="diag", reg_covar=1e-12)
    peer.weights_, peer.means_, peer.covariances_ = (
        a.astype(np.float32) for a in (at.weights_, at.means_, at.variances_)
    )
    parameters = peer.weights_, peer.means_, peer.covariances_, 1 / np.sqrt(peer.covariances_)

    def scikit_learn():
        peer._set_parameters(parameters)
        peer._m_step(x, peer._e_step(x)[1])

    chunks = {f"numpy_gemm {n}": numpy_gemm((at.weights_, at.means_, at.variances_), n) for n in (256, 512, 1024, 4096)}
    runs = {
        "ildfv": lambda: GaussianMixture(K, max_iter=1, tol=np.inf, **start).fit(x),
        "scikit-learn": scikit_learn,
        **{name: lambda gemm=gemm: gemm(x[None]) for name, gemm in chunks.items()},
    }
    seconds: dict = {name: [] for name in runs}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(int(rounds)):
            for name, run in runs.items():
                time.sleep(REST)
                run()  # an uncounted run that wakes the threads
                begin = time.perf_counter()
                run()
                seconds[name].append(time.perf_counter() - begin)
    medians = {name: float(np.median(values)) for name, values in seconds.items()}
    best = min(chunks, key=medians.get)
    ratios = {
        name: np.divide(seconds[peer], seconds["ildfv"])
        for name, peer in (("scikit-learn", "scikit-learn"), ("best numpy_gemm", best))
    }
    summary = {
        name: {"median": float(np.median(r)), "least": float(r.min()), "most": float(r.max())}
        for name, r in ratios.items()
    }
    return {"median_seconds": medians, "best_numpy_gemm": best, "times_faster": summary, "seconds": seconds}


def descriptors(kind: str, n: int) -> np.ndarray:
    """n descriptors, float32 (n, 64): conv1 activations of 64 phantom slices, repeated, or an overlapping mixture."""
    random = np.random.default_rng(0)
    if kind == "activations":
        from data import activations

        return np.resize(activations("conv1", 64).reshape(-1, D), (n, D))
    means = 0.3 * random.normal(size=(K, D)).astype(np.float32) / 8
    x = random.standard_normal((n, D), dtype=np.float32)
    x += means[random.integers(K, size=n)]
    return x


# -- memory --------------------------------------------------------------------------------------------------------


def disk(given) -> dict:
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        path = Path(folder) / "descriptors.h5"
        child(f"write:{path}", 2)
        return child(f"fit:{path}", 2)


def write(path: str) -> dict:
    """20,000,000 draws from 32 components."""
    import h5py

    random = np.random.default_rng(0)
    means = random.normal(size=(K, D)).astype(np.float32)
    rows = 1 << 17
    with h5py.File(path, "w") as file:
        data = file.create_dataset("x", (DISK_ROWS, D), np.float32, chunks=(1 << 14, D))
        for start in range(0, DISK_ROWS, rows):
            size = min(rows, DISK_ROWS - start)
            x = random.standard_normal((size, D), dtype=np.float32)
            data[start : start + size] = x + means[random.integers(K, size=size)]
    return {}


def fit(path: str) -> dict:
    """Peak memory of this process in MB, and seconds of three exact and of three stepwise passes."""
    import h5py

    from ildfv import GaussianMixture

    found: dict = {"rows": DISK_ROWS, "features": D, "components": K}
    with h5py.File(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for method in ("exact", "stepwise"):
            begin = time.perf_counter()
            mixture = GaussianMixture(K, max_iter=3, tol=0, method=method).fit(file["x"])
            found[f"{method}_seconds"] = time.perf_counter() - begin
            found[f"{method}_log_likelihoods"] = mixture.log_likelihoods_.tolist()
            found[f"peak_mb_after_{method}"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return found


# -- likelihood by passes ------------------------------------------------------------------------------------------


def passes(_) -> dict:
    return child("likelihoods", 2)


def likelihoods() -> dict:
    """Mean log likelihood, nats, of all descriptors by number of passes over the conv1 activations of 128 slices."""
    from data import activations

    from ildfv import GaussianMixture

    maps = activations("conv1", 128)
    stream = [maps[i : i + 16] for i in range(0, len(maps), 16)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        full = GaussianMixture(K, max_iter=300).fit(stream)
        curve = {
            method: [GaussianMixture(K, max_iter=n, tol=0, method=method).fit(stream).score(maps) for n in (1, 2, 3, 5)]
            for method in ("exact", "stepwise")
        }
    return {"passes": [1, 2, 3, 5], **curve, "full": full.score(maps), "full_passes": full.n_iter_}


# -- the machine ---------------------------------------------------------------------------------------------------


def machine() -> dict:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    load = os.getloadavg()[0]
    return {"cpu": names[0] if names else platform.processor(), "cores": os.cpu_count(), "load_at_start": load}


def versions() -> dict:
    import sklearn

    import ildfv

    return {
        "ildfv": ildfv.__version__,
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
        "python": platform.python_version(),
    }


CHILDREN = {"pass": time_pass, "write": write, "fit": fit, "likelihoods": likelihoods}

if __name__ == "__main__":
    main()
