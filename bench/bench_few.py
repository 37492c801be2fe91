"""AUC of `ildfv fit --recipe few` on several sets of hard phantoms, pooled over the sets, with intervals by patient.

    python -m bench.bench_few FOLDER [--seeds 21 22 23] [--patients 40] [--slices 3] [--images]
        [--network] [--paper] [--out FILE]

Each seed is one set of labelled slices. All of its folds are fitted and scored as by `ildfv fit`. With --images, the
slices are 8-bit JPEG files (window −1350 … 150 HU) with a CSV file of labels, read by `prepare --grey`. A run that was
interrupted resumes; sets that were fitted are fitted again only with --fit. --network: whether the systems with the
frozen network are included. --paper: whether a CNN and the conv1 Fisher vectors of the whole slice are included.

An AUC counts only pairs of slices of the same fold of the same set. Patients are resampled over all sets. "supported"
is the mean AUC of the patterns with at least five comparable patients. The tables show the AUCs, the difference from
the best baseline of each column (chosen on the same slices), and the difference from P15. All data are generated
phantoms: the numbers do not apply to patients.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from ildfv.evaluation.baselines import PREFIX, best_baselines, is_baseline
from ildfv.evaluation.comparisons import compare
from ildfv.evaluation.documents import Results
from ildfv.evaluation.predictions import Predictions
from ildfv.evaluation.results import evaluate
from ildfv.evaluation.system_measures import SUPPORTED
from ildfv.patterns import PATTERNS
from ildfv.phantom.dicom_series import heights
from ildfv.phantom.difficulty import patient_of
from ildfv.phantom.scanner import Scanner
from ildfv.phantom.write import write_phantoms
from ildfv.pipeline import recipes
from ildfv.pipeline.pooled import pool
from ildfv.pipeline.prepare import prepare_scans
from ildfv.pipeline.scored import current_results, predictions_of
from ildfv.pipeline.workspace import Workspace
from ildfv.scans.grey import Grey

WINDOW = (-1350, 150)  # HU
EPOCHS = 4  # of the recipe paper, as in bench/NOTES.md
QUALITY = 92  # of JPEG
MEASURES = ("mean_auc", SUPPORTED, *(f"{pattern}/auc" for pattern in PATTERNS))
HEADER = "| system | mean | supported | " + " | ".join(PATTERNS) + " |\n|---|---|---|---|---|---|---|"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=Path)
    options.add_argument("--seeds", type=int, nargs="+", default=[21, 22, 23])
    options.add_argument("--patients", type=int, default=40)
    options.add_argument("--slices", type=int, default=3)
    options.add_argument("--threshold", type=int, default=6000)
    options.add_argument("--images", action="store_true")
    options.add_argument("--network", action="store_true")
    options.add_argument("--paper", action="store_true", help="also fit the recipe paper, with 4 epochs")
    options.add_argument("--fit", action="store_true", help="fit all sets again, as after a change of the code")
    options.add_argument("--out", type=Path, help="JSON file of the tables")
    given = options.parse_args()
    if not given.network:
        recipes.network_available = lambda: False
    systems: dict[str, list[Predictions]] = {}
    for seed in given.seeds:
        began = time.process_time()
        study = prepared(given, seed)
        if given.fit or not (study / "fitted").exists():
            recipes.fit(study, recipe="few", device="cpu")
            (study / "fitted").touch()
        if given.paper and (given.fit or not (study / "fitted-paper").exists()):
            recipes.fit(study, recipe="paper", epochs=EPOCHS, device="cpu")
            (study / "fitted-paper").touch()
        print(f"seed {seed}: {time.process_time() - began:.0f} s of CPU time", flush=True)
        for name, parts in scored(study, seed).items():
            systems.setdefault(name, []).extend(parts)
    results = {name: evaluate(parts, data="phantom", threshold=given.threshold) for name, parts in systems.items()}
    tables = {
        "AUC": {name: auc_cells(one) for name, one in results.items()},
        "minus the best baseline": differences(systems, results, best(results)),
        "minus P15": differences(systems, results, {}),
    }
    first = next(iter(results.values()))
    shown = {p: (one.positives, one.positive_patients) for p, one in first.per_pattern.items()}
    print(f"\nPHANTOMS: {first.n_slices} slices, {first.n_patients} patients; slices, patients with pattern: {shown}")
    for title, rows in tables.items():
        print(f"\n{title}\n{HEADER}")
        for name, cells in rows.items():
            print(f"| {name} | {' | '.join(cells)} |")
    if given.out:
        given.out.write_text(json.dumps({"options": vars(given), "patterns": shown} | tables, default=str, indent=1))


def prepared(given: argparse.Namespace, seed: int) -> Path:
    """The workspace of one set; phantoms are drawn and prepared unless this is already done."""
    study, scans = given.folder / f"{seed}" / "study", given.folder / f"{seed}" / "scans"
    if (study / "prepared").exists():
        return study
    common: dict = {"threshold": given.threshold, "workers": 1}
    if given.images:
        labels = write_images(scans, given, seed)
        prepare_scans(scans, study, grey=Grey(*WINDOW), labels=labels, **common)
    else:
        write_phantoms(
            scans, patients=given.patients, seed=seed, slices_per_scan=given.slices, difficulty="hard", workers=1
        )
        prepare_scans(scans, study, **common)
    (study / "prepared").touch()
    return study


def write_images(folder: Path, given: argparse.Namespace, seed: int) -> Path:
    """Writes the slices as JPEG files, and returns the CSV file of their labels."""
    folder.mkdir(parents=True, exist_ok=True)
    low, high = WINDOW
    rows = [["file", "patient", *PATTERNS]]
    for number in range(1, given.patients + 1):
        patient = patient_of(seed, number, "hard")
        scanner = Scanner(patient)
        for i, z in enumerate(heights(patient, given.slices)[0]):
            hu, codes = scanner.slice(float(z))
            grey = np.clip(np.round((hu - low) * (255 / (high - low))), 0, 255).astype(np.uint8)
            name = f"{number:03d}-{i}.jpg"
            Image.fromarray(grey).save(folder / name, quality=QUALITY)
            counts = np.bincount(codes.ravel(), minlength=len(PATTERNS) + 2)[2:]
            rows.append([name, f"patient {number}", *map(str, (counts >= given.threshold).astype(int))])
    labels = folder / "slices.csv"
    with labels.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return labels


def scored(study: Path, seed: int) -> dict[str, list[Predictions]]:
    """The predictions on all folds, by system. Folds and patients have names that differ between seeds."""
    workspace = Workspace.open(study)
    slices = workspace.slices()
    current, _ = current_results(workspace, slices)
    found = pool([predictions_of(workspace, slices, name, results) for name, results in current.items()])
    return {
        name: [
            replace(one, fold=1000 * seed + one.fold, patients=[f"{seed} {patient}" for patient in one.patients])
            for _, one in parts
        ]
        for name, parts in found.items()
    }


def auc_cells(one: Results) -> list[str]:
    """The mean AUC and the AUC of each pattern, with intervals."""
    patterns = [one.per_pattern[p] for p in PATTERNS]
    means = [one.overall.estimate(measure) for measure in ("mean_auc", SUPPORTED)]
    values = [*means, *((p.auc, p.auc_interval) for p in patterns)]
    return [cell(value, interval, "") for value, interval in values]


def best(results: dict[str, Results]) -> dict[str, str]:
    """The baseline with the highest AUC, by pattern, mean_auc and supported_mean_auc."""
    means = {name: one.overall.supported_mean_auc or 0.0 for name, one in results.items() if is_baseline(name)}
    return best_baselines(list(results.values())) | {SUPPORTED: max(means, key=lambda name: means[name])}


def differences(
    systems: dict[str, list[Predictions]], results: dict[str, Results], baselines: dict[str, str]
) -> dict[str, list[str]]:
    """By system, its AUC minus that of a baseline, for the means and each pattern. P15 is used if none is given."""
    against = [baselines.get(measure.removesuffix("/auc"), f"{PREFIX}p15") for measure in MEASURES]
    rows = {}
    for name in results:
        if is_baseline(name):
            continue
        tests = {other: compare(systems[name], systems[other]).tests for other in set(against)}
        pairs = [(other, tests[other][measure]) for other, measure in zip(against, MEASURES, strict=True)]
        rows[name] = [
            cell(one.difference, one.interval, "+") + (f" ({other.removeprefix(PREFIX)})" if baselines else "")
            for other, one in pairs
        ]
    return rows


def cell(value: float | None, interval: tuple[float, float] | None, sign: str) -> str:
    """Text such as "0.93 [0.88, 0.96]"."""
    if value is None:
        return "–"
    span = "" if interval is None else f" [{interval[0]:{sign}.3f}, {interval[1]:{sign}.3f}]"
    return f"{value:{sign}.3f}{span}".replace("-", "−")


if __name__ == "__main__":
    main()
