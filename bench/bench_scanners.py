"""Effect of the options of `prepare` for scanner effects: train on phantoms of one scanner, predict phantoms of others.

    python bench/bench_scanners.py --patients 24 --tested 16 --slices 4

The same test patients are scanned by every scanner. A predictor (Fisher vectors of filters in the lung, ridge head with
densities) is fitted on scanner A for each set of options and applied to all test scans by `predict_volume`. Differences
from the predictor without options are paired; intervals are from resampled test patients. All data are generated
phantoms.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np

from ildfv.datasets.convert import read_volume
from ildfv.datasets.discovery import discover
from ildfv.errors import InputError
from ildfv.inference.predict import predict_volume
from ildfv.inference.predictor import Predictor
from ildfv.patterns import PATTERNS
from ildfv.phantom.difficulty import patient_of
from ildfv.phantom.scanner import Scanner
from ildfv.phantom.write import heights
from ildfv.pipeline.encode import EncodeSettings, encode_slices
from ildfv.pipeline.export import export_predictor
from ildfv.pipeline.prepare import prepare_scans
from ildfv.pipeline.regress import regress_encoding
from ildfv.pipeline.split import write_folds
from ildfv.pipeline.workspace import Workspace

SEED = 31
SCANNERS = {  # of ildfv.phantom.hard, with the noise of 100 mAs; C has a low dose, a larger field and a larger offset
    "A": {"kernel": "A70 sharp", "blur": 0.45, "sharp": 0.9, "thickness": 1.25, "noise": 20.0, "offset": 4.0},
    "B": {"kernel": "B30 smooth", "blur": 0.72, "sharp": 0.1, "thickness": 3.0, "noise": 9.0, "offset": -5.0},
    "C": {"kernel": "G lung", "blur": 0.40, "sharp": 1.0, "thickness": 1.25, "noise": 45.0, "offset": -15.0},
}
WIDER = {"A": 1.0, "B": 1.0, "C": 1.3}  # factor of the pixel size
OPTIONS = {
    "none": {},
    "air": {"normalise": "air"},
    "air,tissue": {"normalise": "air,tissue"},
    "pixel size 0.8 mm": {"pixel_size": 0.8},
    "noise level 10 HU": {"noise_level": 10.0},
    "all": {"normalise": "air,tissue", "pixel_size": 0.8, "noise_level": 10.0},
}
PRESENT = 600.0  # mm² from which a pattern counts as present on a slice
RESAMPLES = 2000


def scanned(job: tuple[Path, int, str, int]) -> None:
    """Writes the scan of one patient on one scanner: CT, label map, and the areas of the patterns."""
    folder, number, name, slices = job
    patient = patient_of(SEED, number, "hard")
    patient = replace(patient, pixel=patient.pixel * WIDER[name], **SCANNERS[name])
    scanner = Scanner(patient)
    found = [scanner.slice(float(z)) for z in heights(patient, slices)[0]]
    hu, codes = (np.stack([one[i] for one in found]) for i in (0, 1))
    apart = heights(patient, slices)[0][1] - heights(patient, slices)[0][0]
    target = folder / f"PHANTOM-{number:03d}"
    target.mkdir(parents=True, exist_ok=True)
    for file, values in (("ct", hu), ("ct_label", codes)):
        image = nibabel.Nifti1Image(
            np.ascontiguousarray(values.transpose(2, 1, 0)), np.diag([-patient.pixel, -patient.pixel, float(apart), 1])
        )
        image.header.set_xyzt_units("mm")
        nibabel.save(image, target / f"{file}.nii.gz")
    areas = np.stack([(codes == k + 2).sum(axis=(1, 2)) for k in range(len(PATTERNS))], axis=1) * patient.pixel**2
    np.save(target / "areas.npy", areas)


def fitted(job: tuple[Path, str]) -> dict[str, dict]:
    """By scanner, scores and presence on the test scans of the predictor fitted with one set of options."""
    root, name = job
    workspace = root / "studies" / name.replace(" ", "-")
    options = OPTIONS[name]
    pixel = options.get("pixel_size", 0.7)
    prepare_scans(root / "train", workspace, codes="phantom", threshold=round(PRESENT / pixel**2), workers=1, **options)
    write_folds(Workspace.open(workspace))
    settings = EncodeSettings(layer="filters", region="lung", components=16, dimensions=64)
    encode_slices(workspace, settings)
    regress_encoding(workspace, layer="filters", region="lung", head="ridge")
    export_predictor(workspace, workspace / "predictor", layer="filters", region="lung")
    predictor = Predictor.load(workspace / "predictor")
    found: dict[str, dict] = {}
    for scanner in SCANNERS:
        rows: dict = {"scores": [], "truth": [], "patients": [], "called": [], "refused": []}
        for folder in sorted((root / f"test-{scanner}").iterdir()):
            (scan,) = discover(folder / "ct.nii.gz", labels=False, workers=1).scans
            try:
                answer = predict_volume(predictor, read_volume(scan), scan="phantom", contributions=False)
            except InputError as error:
                rows["refused"].append(f"{folder.name}: {error}")
                continue
            rows["scores"] += answer.head.scores.tolist()
            rows["called"] += answer.head.presence.tolist()
            rows["truth"] += (np.load(folder / "areas.npy") >= PRESENT).tolist()
            rows["patients"] += [folder.name] * len(answer.positions)
        found[scanner] = rows
    return found


def pairs(rows: dict, names: list[str]) -> list[tuple[np.ndarray, ...]]:
    """For each pattern, the sums from which `measures` computes its result for any weights of the patients.

    (number of correctly ordered pairs of a slice with the pattern and one without it, by their two patients; and by
    patient: slices with the pattern, slices without it, and the correct calls among each of these).
    """
    owner = np.array([names.index(name) if name in names else -1 for name in rows["patients"]])
    scores, truth, called = (np.array(rows[key])[owner >= 0] for key in ("scores", "truth", "called"))
    member = np.eye(len(names))[owner[owner >= 0]]  # (slices, patients)
    found = []
    for c in range(scores.shape[1]):
        shown = truth[:, c]
        difference = scores[shown, c][:, None] - scores[~shown, c]
        right = member[shown].T @ ((difference > 0) + 0.5 * (difference == 0)) @ member[~shown]
        hit = called[:, c] == shown
        found.append((right, *(member[rows].sum(axis=0) for rows in (shown, ~shown, shown & hit, ~shown & hit))))
    return found


def measures(found: list[tuple[np.ndarray, ...]], weights: np.ndarray) -> tuple[float, float]:
    """(mean AUC over patterns, mean balanced accuracy at the predictor's thresholds). weights: of the patients."""
    aucs, accuracies = [], []
    for right, with_it, without, hits, rejections in found:
        n, m = with_it @ weights, without @ weights
        if n > 0 and m > 0:
            aucs.append(weights @ right @ weights / (n * m))
            accuracies.append((hits @ weights / n + rejections @ weights / m) / 2)
    return float(np.mean(aucs)), float(np.mean(accuracies))


def compared(rows: dict, plain: dict) -> str:
    """AUC and balanced accuracy with 95 % intervals, and paired differences from the predictor without options."""
    names = sorted(set(rows["patients"]) & set(plain["patients"]))
    random, n = np.random.default_rng(0), len(names)
    draws = [np.ones(n)] + [np.bincount(random.integers(0, n, n), minlength=n) for _ in range(RESAMPLES)]
    both = [pairs(one, names) for one in (rows, plain)]
    values = []
    for draw in draws:
        a, b = (measures(one, draw.astype(float)) for one in both)
        values.append([*a, *np.subtract(a, b)])
    table = np.array(values)
    low, high = np.nanpercentile(table[1:], [2.5, 97.5], axis=0)
    order = ((0, ""), (2, "+"), (1, ""), (3, "+"))
    return " | ".join(f"{table[0, i]:{sign}.3f} [{low[i]:{sign}.3f}, {high[i]:{sign}.3f}]" for i, sign in order)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=24, help="training patients, on scanner A")
    parser.add_argument("--tested", type=int, default=16, help="test patients, on every scanner")
    parser.add_argument("--slices", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, help="JSON file of the scores")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(given.workers) as pool:
        root = Path(folder)
        jobs = [(root / "train", n, "A", given.slices) for n in range(1, given.patients + 1)]
        last = given.patients + given.tested
        jobs += [
            (root / f"test-{s}", n, s, given.slices) for s in SCANNERS for n in range(given.patients + 1, last + 1)
        ]
        list(pool.map(scanned, jobs))
        found = dict(zip(OPTIONS, pool.map(fitted, [(root, name) for name in OPTIONS]), strict=True))
    if given.out:
        given.out.write_text(json.dumps(found))
    print("| tested on | options | mean AUC | difference | balanced accuracy | difference | refused |")
    print("|---|---|---|---|---|---|---|")
    for scanner in SCANNERS:
        for name, by_scanner in found.items():
            rows = by_scanner[scanner]
            text = compared(rows, found["none"][scanner])
            print(f"| {scanner} | {name} | {text} | {len(rows['refused'])} |", flush=True)


if __name__ == "__main__":
    main()
