"""Mixture and Fisher vectors of image descriptors, compared with scikit-learn and scikit-image's fisher_vector.

    OMP_NUM_THREADS=1 python bench/bench_libraries.py [--images 60] [--seeds 3] [--out FILE.json]

All implementations use the same two sets of descriptors, 18 derivatives at a pixel of a generated patch of 31×31: all
961 of each patch, and 166 of each patch, drawn at random, from four times as many patches. Mixtures have 32 diagonal
components; there is one thread and one process. The implementations take turns for each seed. Results are medians of
processor time, and of the ratio with its range.

same tolerance: initialisation, and passes until one gains less than 1e-3 nats per descriptor (scikit-learn's
    default). The final mean log likelihoods are reported, because the two starts may lead to different optima.
same start: 20 passes from equal parameters, which give equal likelihoods.
encoding: Fisher vectors of all images with the mixture of scikit-learn; `improved` is off in all implementations.
memory: peak of the allocations of Python and NumPy during the call (tracemalloc), in MB. The scratch memory of our C++
    kernels is not included: less than 1 MB per thread here.
Goals: at least 5 times as fast as scikit-learn and scikit-image, with at most half of their memory. The exit status is
1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tracemalloc
import warnings
from pathlib import Path
from statistics import median

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

COMPONENTS, SIZE, FEW = 32, 31, 166
TOLERANCE, PASSES = 1e-3, 20
GOAL, MEMORY_GOAL = 5.0, 0.5


def processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def descriptors(per_image: int, images: int) -> list[np.ndarray]:
    """Maps (per_image, 18), float32, standardised: `images` of them if per_image is 961, else 4 · images."""
    from ildfv.texture import texture_features
    from ildfv.texture.generated import CLASSES, generate

    number = images if per_image == SIZE**2 else 4 * images
    patches = generate(-(-number // len(CLASSES)), 1, size=SIZE)[0][:number]
    maps = next(iter(texture_features(patches, backbone="filters", layers="derivatives", scales=(1,)).values()))
    if per_image < SIZE**2:
        rng = np.random.default_rng(0)
        maps = [rows[np.sort(rng.choice(len(rows), per_image, replace=False))] for rows in maps]
    every = np.concatenate(maps).astype(np.float64)
    mean, sd = every.mean(axis=0), every.std(axis=0)
    return [np.ascontiguousarray((rows - mean) / sd, dtype=np.float32) for rows in maps]


def ours(seed: int, start=None, **options):
    from ildfv import GaussianMixture

    given = {}
    if start is not None:
        given = {"weights_init": start.weights_, "means_init": start.means_, "variances_init": start.variances_}
    return GaussianMixture(COMPONENTS, random_state=seed, **given, **options)


def sklearn(seed: int, start=None, **options):
    from sklearn.mixture import GaussianMixture

    given = {}
    if start is not None:
        given = {"weights_init": start.weights_, "means_init": start.means_, "precisions_init": 1 / start.variances_}
    return GaussianMixture(COMPONENTS, covariance_type="diag", random_state=seed, **given, **options)


def encode_ours(maps, mixture):
    from ildfv import FisherVector, GaussianMixture

    given = GaussianMixture.from_parameters(mixture.weights_, mixture.means_, mixture.covariances_)
    return FisherVector(given, improved=False).transform(maps)


def encode_skimage(maps, mixture):
    from skimage.feature import fisher_vector

    return [fisher_vector(rows, mixture) for rows in maps]


def compared(calls: dict, seeds: int, about=lambda result: {}) -> dict:
    """Processor seconds, ratio of the second to the first, and peak memory of two calls, each a function of the seed.

    about: function that returns a dict of numbers to report for a result.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    facts: dict[str, dict[str, list[float]]] = {name: {} for name in calls}
    peaks = {}
    for name, call in calls.items():  # also the warm-up
        tracemalloc.start()
        call(0)
        peaks[name] = round(tracemalloc.get_traced_memory()[1] / 2**20, 1)
        tracemalloc.stop()
    for seed in range(seeds):
        for name, call in calls.items():
            start = processor_seconds()
            result = call(seed)
            times[name].append(processor_seconds() - start)
            for key, value in about(result).items():
                facts[name].setdefault(key, []).append(value)
    first, second = times.values()
    ratios = [round(b / a, 2) for a, b in zip(first, second, strict=True)]
    own, other = peaks.values()
    return {
        "seconds": {name: round(median(values), 4) for name, values in times.items()},
        "times_faster": median(ratios),
        "times_faster_range": [min(ratios), max(ratios)],
        "peak_mb": peaks,
        "memory_share": round(own / other, 2),
        **{key: {name: facts[name][key] for name in calls} for key in next(iter(facts.values()))},
    }


def measure(per_image: int, images: int, seeds: int) -> dict:
    maps = descriptors(per_image, images)
    whole = np.concatenate(maps)
    start = ours(0, max_iter=0).fit(maps)
    mixture = sklearn(0, max_iter=10).fit(whole)

    def about(fitted) -> dict:
        return {"passes": int(fitted.n_iter_), "log_likelihood": round(float(fitted.score(whole)), 4)}

    fixed = {"start": start, "tol": 0, "max_iter": PASSES}
    return {
        "descriptors_per_image": per_image,
        "images": len(maps),
        "dimensions": whole.shape[1],
        "same_tolerance": compared(
            {
                "ours": lambda seed: ours(seed, tol=TOLERANCE).fit(maps),
                "scikit-learn": lambda seed: sklearn(seed, tol=TOLERANCE).fit(whole),
            },
            seeds,
            about,
        ),
        "same_start": compared(
            {
                "ours": lambda seed: ours(seed, **fixed).fit(maps),
                "scikit-learn": lambda seed: sklearn(seed, **fixed).fit(whole),
            },
            seeds,
            about,
        ),
        "encoding": compared(
            {"ours": lambda _: encode_ours(maps, mixture), "scikit-image": lambda _: encode_skimage(maps, mixture)},
            seeds,
        ),
    }


def missed(found: dict) -> list[str]:
    lines = []
    for row in found["sizes"]:
        for name in ("same_tolerance", "same_start", "encoding"):
            what = f"{row['descriptors_per_image']} descriptors per image, {name}"
            ratio, share = row[name]["times_faster"], row[name]["memory_share"]
            lines += [f"{what}: {ratio} times, goal {GOAL}"] if ratio < GOAL else []
            lines += [f"{what}: {share} of the memory, goal {MEMORY_GOAL}"] if share > MEMORY_GOAL else []
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # a fixed number of passes does not converge
    from ratios import machine

    from ildfv.kernels.cpu import instruction_set, num_threads

    found = {"machine": machine(), "instruction_set": instruction_set(), "threads": num_threads(), "sizes": []}
    for per_image in (SIZE**2, FEW):
        found["sizes"].append(measure(per_image, given.images, given.seeds))
        print(json.dumps(found["sizes"][-1], indent=1), flush=True)
    found["missed"] = missed(found)
    if given.out:
        given.out.write_text(json.dumps(found, indent=1) + "\n")
    print(*found["missed"], sep="\n")
    sys.exit(bool(found["missed"]))


if __name__ == "__main__":
    main()
