"""Time of one query for similar slices: the nearest rows of a matrix of projections.

    python -m bench.bench_similar [--rows 240000] [--dimensions 512] [--threads 2] [--queries 20]

Rows are random: isotropic, which is the worst case because all distances are similar, and with a decaying spectrum,
like PCA projections. The implementations are timed alternately, one query each, so that other load affects all equally.
Results are compared with a full search in float64.
"""

from __future__ import annotations

import argparse
import time
from functools import partial

import numpy as np
from threadpoolctl import threadpool_limits

from ildfv.inference.similar import NearestRows

RESULTS = 10
FLAT = "FAISS IndexFlatL2"
PATIENT = 300  # rows of the query's patient, which are excluded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=240_000)
    parser.add_argument("--dimensions", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--queries", type=int, default=20)
    arguments = parser.parse_args()
    import faiss

    faiss.omp_set_num_threads(arguments.threads)
    rng = np.random.default_rng(0)
    for name, spectrum in (("isotropic", np.ones(arguments.dimensions)), ("decaying", _decaying(arguments.dimensions))):
        rows = rng.standard_normal((arguments.rows, arguments.dimensions), dtype=np.float32)
        rows *= spectrum.astype(np.float32)
        contestants = {}
        for library, use in (("FAISS", True), ("NumPy", False)):
            start = time.perf_counter()
            contestants[library] = NearestRows(rows, use_faiss=use)
            print(f"{name}: {library} index built in {time.perf_counter() - start:.1f} s")
        flat = faiss.IndexFlatL2(arguments.dimensions)
        flat.add(rows)
        excluded = np.zeros(arguments.rows, bool)
        excluded[:PATIENT] = True
        searches = {
            name: partial(index.search, count=RESULTS, excluded=excluded) for name, index in contestants.items()
        }
        searches[FLAT] = partial(_flat, flat)
        seconds: dict[str, list[float]] = {library: [] for library in searches}
        cores: dict[str, list[float]] = {library: [] for library in searches}
        wrong = 0
        with threadpool_limits(arguments.threads):
            for _ in range(arguments.queries):
                query = rng.standard_normal(arguments.dimensions).astype(np.float32) * spectrum.astype(np.float32)
                expected = _full(rows, query, excluded)
                for library, search in searches.items():
                    start, busy = time.perf_counter(), time.process_time()
                    found, _ = search(query)
                    cores[library].append(time.process_time() - busy)
                    seconds[library].append(time.perf_counter() - start)
                    wrong += int(library != FLAT and not np.array_equal(found, expected))
        for library in searches:
            wall, cpu = 1e3 * np.array(seconds[library]), 1e3 * np.array(cores[library])
            print(
                f"{name}: {library:18s} median {np.median(wall):6.1f}, fastest {wall.min():6.1f} ms per query; "
                f"CPU time {np.median(cpu):6.1f} ms"
            )
        print(f"{name}: {wrong} of {2 * arguments.queries} results differ from a full search in float64")


def _decaying(dimensions: int) -> np.ndarray:
    """Standard deviations that fall like those of projections of Fisher vectors."""
    return 1 / np.sqrt(1 + np.arange(dimensions))


def _flat(index, query: np.ndarray):
    return index.search(query[None], RESULTS + PATIENT)[1][0], None


def _full(rows: np.ndarray, query: np.ndarray, excluded: np.ndarray) -> np.ndarray:
    squares = np.concatenate(
        [((rows[i : i + 4096].astype(np.float64) - query) ** 2).sum(axis=1) for i in range(0, len(rows), 4096)]
    )
    squares[excluded] = np.inf
    return np.argsort(squares, kind="stable")[:RESULTS]


if __name__ == "__main__":
    main()
