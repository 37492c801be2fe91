"""Separation of the phantoms' patterns by simple baselines and by Fisher vectors, with the target values.

    python -m bench.bench_phantoms [--difficulty hard] [--patients 40] [--slices 10] [--seed 0]

Prints the share of slices with each pattern at both thresholds, and the AUC per pattern of
- the baselines: percentage of lung below −950 HU (LAA-950), 15th percentile of lung HU (P15, sign reversed), mean lung
  density, and the share of lung from −600 to −250 HU (high-attenuation area), all inside the drawn lung;
- conv1 Fisher vectors (CNN-F with random weights, k = 32, PCA, ridge regression), fitted on the other patients in five
  folds.
Then it prints the same AUC in the paper (tables 5 and 7) and on clinical scans with mild emphysema (P15 0.87, LAA-950
0.62).
All other numbers are of phantoms and do not apply to patients.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np

from ildfv.evaluation.metrics import roc_auc
from ildfv.patterns import PATTERNS, presence

THRESHOLDS = (4000, 6000)
BASELINES = ("LAA-950", "P15", "mean density", "high attenuation")
CLINICAL = {"P15": 0.87, "LAA-950": 0.62}  # emphysema on 115 slices of 39 people
PAPER = {  # AUC of conv1 Fisher vectors
    "paper, 240k slices (Table 5)": (0.979, 0.951, 0.765, 0.985),
    "paper, 18k slices (Table 7)": (0.984, 0.976, 0.898, 0.988),
}
FOLDS = 5
DIRECTIONS = 128  # PCA dimensions: fewer than the paper's 512 because there are only a few hundred slices
RIDGE = 1.0


@dataclass(frozen=True)
class Drawn:
    """Slices of some patients."""

    patients: np.ndarray  # (n,)
    counts: np.ndarray  # (n, 4) pixels
    baselines: np.ndarray  # (n, 4), as BASELINES
    windows: np.ndarray  # (n, 3, 224, 224) uint8


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--difficulty", default="hard")
    options.add_argument("--patients", type=int, default=40)
    options.add_argument("--slices", type=int, default=10)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--no-fisher", action="store_true", help="baselines only")
    given = options.parse_args()
    began = time.perf_counter()
    drawn = draw(given)
    seconds = time.perf_counter() - began
    print(f"PHANTOM data, {given.difficulty}: {given.patients} patients, {len(drawn.counts)} slices, seed {given.seed}")
    print(f"drawn by two processes in {seconds:.0f} s")
    truths = [presence(drawn.counts, threshold) for threshold in THRESHOLDS]
    scores = cross_validated(drawn, np.concatenate(truths, axis=1)) if not given.no_fisher else None
    for i, (threshold, truth) in enumerate(zip(THRESHOLDS, truths, strict=True)):
        rows = {name: aucs(truth, drawn.baselines[:, [i] * 4]) for i, name in enumerate(BASELINES)}
        if scores is not None:
            rows["conv1 Fisher vectors"] = aucs(truth, scores[:, 4 * i : 4 * i + 4])
        print(f"\nT = {threshold}".ljust(31), *(f"{name:>13}" for name in PATTERNS))
        print("share of slices".ljust(30), *(f"{value:13.3f}" for value in truth.mean(axis=0)))
        for name, values in {**rows, **PAPER}.items():
            print(name.ljust(30), *(f"{value:13.3f}" for value in values))
    print("\nAUC of emphysema on clinical scans:", json.dumps(CLINICAL))
    print(f"total time {time.perf_counter() - began:.0f} s")


def draw(given: argparse.Namespace) -> Drawn:
    jobs = [(given.seed, number, given.slices, given.difficulty) for number in range(1, given.patients + 1)]
    with ProcessPoolExecutor(2) as pool:
        parts = list(pool.map(patient, jobs))
    return Drawn(*(np.concatenate([getattr(part, name) for part in parts]) for name in Drawn.__annotations__))


def patient(job: tuple[int, int, int, str]) -> Drawn:
    from ildfv.phantom.dicom_series import heights
    from ildfv.phantom.difficulty import patient_of
    from ildfv.phantom.scanner import Scanner
    from ildfv.scans.windows import windowed

    seed, number, slices, difficulty = job
    someone = patient_of(seed, number, difficulty)
    scanner = Scanner(someone)
    pairs = [scanner.slice(float(z)) for z in heights(someone, slices)[0]]
    return Drawn(
        patients=np.full(slices, number),
        counts=np.stack([np.bincount(codes.ravel(), minlength=6)[2:] for _, codes in pairs]),
        baselines=np.stack([baselines(hu[codes > 0]) for hu, codes in pairs]),
        windows=np.stack([windowed(hu[None])[0] for hu, _ in pairs]),
    )


def baselines(lung: np.ndarray) -> np.ndarray:
    """The BASELINES (4,) of the HU of the lung pixels, with signs such that a larger value means more disease."""
    return np.array(
        [(lung < -950).mean(), -np.percentile(lung, 15), lung.mean(), ((lung >= -600) & (lung <= -250)).mean()]
    )


def cross_validated(drawn: Drawn, truth: np.ndarray) -> np.ndarray:
    """Scores (n, labels), like `truth`, of conv1 Fisher vectors; each fold is scored by a fit to the other folds."""
    fold = np.random.default_rng(0).permutation(np.arange(drawn.patients.max()) % FOLDS)[drawn.patients - 1]
    scores = np.empty(truth.shape)
    for k in range(FOLDS):
        train, test = fold != k, fold == k
        encodings = encoded(drawn, train)
        centre = encodings[train].mean(axis=0)
        scores[test] = regressed(encodings[train] - centre, truth[train], encodings[test] - centre)
    return scores


def encoded(drawn: Drawn, train: np.ndarray) -> np.ndarray:
    """Fisher vectors of all slices, (n, 4096); network statistics and mixture from the slices `train`."""
    from ildfv import FisherVector, GaussianMixture
    from ildfv.train.activations import Activations
    from ildfv.train.networks import build

    network = build("cnnf", seed=0)
    images = drawn.windows[train]
    network.normalise(images.mean(axis=(0, 2, 3)), images.std(axis=(0, 2, 3)))
    layer = Activations(network, "conv1")
    maps = np.concatenate([layer(drawn.windows[i : i + 16]).flatten(2).numpy() for i in range(0, len(train), 16)])
    maps = np.ascontiguousarray(maps.transpose(0, 2, 1))  # (n, 2916, 64)
    mixture = GaussianMixture(n_components=32, max_iter=10, method="stepwise", random_state=0).fit(
        maps[train][:, ::4].reshape(-1, 64)
    )
    return FisherVector(mixture).transform(maps)


def regressed(x: np.ndarray, truth: np.ndarray, new: np.ndarray) -> np.ndarray:
    from ildfv import PCA, MultivariateRegression

    pca = PCA(min(DIRECTIONS, len(x) - 1)).fit(x)
    projected = pca.transform(x)
    spread = projected[:, 0].std()
    model = MultivariateRegression(ridge=RIDGE).fit(projected / spread, truth.astype(float))
    return model.predict(pca.transform(new) / spread)


def aucs(truth: np.ndarray, scores: np.ndarray) -> list[float]:
    return [roc_auc(truth[:, k], scores[:, k]) for k in range(4)]


if __name__ == "__main__":
    main()
