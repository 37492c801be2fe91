"""Coverage of conformal sets on held-out patients: a simulation with patient effects, and a study's encodings.

    python -m bench.bench_conformal [-w STUDY --layer filters] [--levels 0.8,0.9] [--seeds 20]

Study: for every encoded fold, a ridge regression on the fit patients scores the validation and held-out patients. For
each seed, a random half of these patients calibrates the sets, and coverage is measured on the other half. Simulation:
normal scores with patient effects, 2000 studies of each size, whose mean coverage must reach the level.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ildfv.inference.conformal import Conformal, coverage

STUDIES = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-w", "--workspace", type=Path, default=None)
    parser.add_argument("--layer", default="filters")
    parser.add_argument("--levels", default="0.8,0.9")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--threshold", type=int, default=None, help="threshold T in pixels; default: that of the study")
    arguments = parser.parse_args()
    for level in map(float, arguments.levels.split(",")):
        for patients in (10, 20, 50):
            simulated(level, patients)
        if arguments.workspace is not None:
            measured(arguments.workspace, arguments.layer, level, arguments.seeds, arguments.threshold)


def simulated(level: float, patients: int) -> None:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(STUDIES):
        limits = Conformal.fit(*_study(patients, rng), level=level)
        held_out = coverage(limits, *_study(20, rng))
        found.append([held_out["present"][0], held_out["absent"][0], held_out["single"][0]])
    means, errors = np.mean(found, axis=0), np.std(found, axis=0) / np.sqrt(STUDIES)
    print(
        f"simulation, level {level}, {patients} calibration patients: present {means[0]:.3f} ± {2 * errors[0]:.3f}, "
        f"absent {means[1]:.3f} ± {2 * errors[1]:.3f}, single labels {means[2]:.2f}"
    )


def _study(patients: int, rng):
    """Each patient has both labels, 2 to 12 slices, and a random offset of the scores."""
    sizes = rng.integers(1, 7, patients) * 2
    owner = np.repeat(np.arange(patients), sizes)
    truth = np.concatenate([np.arange(size) % 2 for size in sizes])
    scores = 2.0 * truth + 0.7 * rng.normal(size=patients)[owner] + rng.normal(size=len(owner))
    return truth[:, None], scores[:, None], owner


def measured(root: Path, layer: str, level: float, seeds: int, t: int | None) -> None:
    from ildfv.patterns import PATTERNS
    from ildfv.pipeline.encodings import newest
    from ildfv.pipeline.regress import fit_regression
    from ildfv.pipeline.split import labelled_presence, load_folds, split_slices
    from ildfv.pipeline.workspace import Workspace

    workspace = Workspace.open(root)
    slices, folds, threshold = workspace.slices(), load_folds(workspace), t or workspace.settings.threshold
    sums: dict[str, list] = {"present": [], "absent": [], "single": [], "calibration": []}
    used = [f for f in range(folds.n_folds) if (workspace.encoding_dir(layer, f) / "encoding.json").exists()]
    for fold in used:
        split = split_slices(slices, folds, fold)
        scores = fit_regression(newest(workspace, fold, layer), slices, split, threshold=threshold)
        indices = np.concatenate([split.validation, split.test])
        values = np.concatenate([scores.validation, scores.test])
        truth, patients = labelled_presence(slices, indices, threshold), slices.patients[indices]
        names = np.unique(patients)
        for seed in range(seeds):
            chosen = np.random.default_rng([fold, seed]).permutation(names)[: len(names) // 2]
            own = np.isin(patients, chosen)
            limits = Conformal.fit(truth[own], values[own], patients[own], level=level)
            found = coverage(limits, truth[~own], values[~own], patients[~own])
            for name in ("present", "absent", "single"):
                sums[name].append(found[name])
            sums["calibration"].append([limits.present_patients, limits.absent_patients])
    calibration = np.mean(sums["calibration"], axis=0)
    count = len(np.unique(slices.patients))
    print(f"{slices.data} study of {count} patients, folds {used}, {seeds} seeds, T = {threshold}, level {level}:")
    for c, pattern in enumerate(PATTERNS):
        present, absent, single = (np.nanmean([row[c] for row in sums[n]]) for n in ("present", "absent", "single"))
        print(
            f"  {pattern:13s} present {present:.3f} ({calibration[0, c]:.1f} calibration patients), "
            f"absent {absent:.3f} ({calibration[1, c]:.1f}), single labels {single:.2f}"
        )


if __name__ == "__main__":
    main()
