"""How often a predictor refuses a scan or warns, for scans like its training data and for unsuitable scans.

    python -m bench.bench_reliability -p PREDICTOR -w STUDY --scans SCANS [--real ../shared/data] [--patients 6]

SCANS: the folder that STUDY was prepared from. False alarms are counted on held-out patients of the predictor's fold,
and detections on the same scans after a change of kernel, noise or scaling. Phantoms are also drawn again with thicker
sections at the same positions, and with another kernel; "without header" means that the scan does not state its
thickness or kernel, like a volume file. Heads and abdomens are simple synthetic bodies. A scan without lung is refused.
A warning is counted if the first reliability statement says that the scan differs.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from ildfv.datasets.convert import read_volume
from ildfv.datasets.discovery import discover
from ildfv.datasets.identity import hashed
from ildfv.errors import InputError
from ildfv.evaluation.intervals import LEVEL
from ildfv.inference.batch import SliceBatch
from ildfv.inference.predictor import Predictor
from ildfv.inference.reliability import statements
from ildfv.phantom.dicom_series import heights
from ildfv.phantom.patient import draw_patient
from ildfv.phantom.scanner import Scanner
from ildfv.pipeline.split import load_folds, split_slices
from ildfv.pipeline.workspace import Workspace
from ildfv.scans.libraries import quiet
from ildfv.scans.lungs import check_lung, lung_mask
from ildfv.scans.technique import UNKNOWN
from ildfv.scans.volume import Volume
from ildfv.scans.windows import windowed

REAL = Path(os.environ.get("ILDFV_REAL_CT", "../shared/data"))
RESULTS = ("refused", "warned", "accepted")
SLICES = 24  # evenly spaced slices of a scan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-p", "--predictor", type=Path, required=True)
    parser.add_argument("-w", "--workspace", type=Path, required=True)
    parser.add_argument("--scans", type=Path, required=True)
    parser.add_argument("--real", type=Path, default=REAL)
    parser.add_argument("--patients", type=int, default=6)
    parser.add_argument("--fold", type=int, default=0)
    arguments = parser.parse_args()
    predictor = Predictor.load(arguments.predictor)
    volumes = list(held_out(arguments))
    kinds = {name: [change(volume) for volume in volumes] for name, change in CHANGES.items()}
    for name, changes in DRAWN.items():
        kinds[name] = found = [drawn(volume, **changes) for volume in volumes]
        kinds[f"{name}, without header"] = [replace(volume, technique=UNKNOWN) for volume in found]
    kinds["head"] = [replace(volume, hu=head(volume, i)) for i, volume in enumerate(volumes)]
    kinds["abdomen"] = [replace(volume, hu=abdomen(volume, i)) for i, volume in enumerate(volumes)]
    print(f"{len(volumes)} held-out scans; intervals at {LEVEL:.0%} (Clopper–Pearson) of refused or warned")
    for name, given in kinds.items():
        show(name, [judged(predictor, volume) for volume in given])
    for name, volume in real(arguments.real):
        result, sentences = judged(predictor, volume)
        print(f"real CT {name}: {result}; {' '.join(sentences)}")


def judged(predictor: Predictor, volume: Volume) -> tuple[str, list[str]]:
    """One of RESULTS, and the sentences."""
    rows = np.unique(np.linspace(0, len(volume.hu) - 1, SLICES).astype(int))
    lung = np.array([np.count_nonzero(lung_mask(volume.hu[z], volume.pixel_area)) for z in rows])
    try:
        check_lung(lung, volume.pixel_area)
    except InputError as error:
        return "refused", [str(error)]
    slices = SliceBatch(np.stack([windowed(volume.hu[z]) for z in rows]), volume.paper_pixel_area)
    found = statements(predictor, volume, slices, lung * volume.pixel_area / 100)
    return ("warned" if found[0].startswith("The scan differs") else "accepted"), found


def show(name: str, judgements: list) -> None:
    from scipy.stats import beta

    count = Counter(result for result, _ in judgements)
    n, alarms = len(judgements), len(judgements) - count["accepted"]
    tail = (1 - LEVEL) / 2
    low = beta.ppf(tail, alarms, n - alarms + 1) if alarms else 0.0
    high = beta.ppf(1 - tail, alarms + 1, n - alarms) if alarms < n else 1.0
    each = ", ".join(f"{result} {count[result]}" for result in RESULTS)
    print(f"{name:34s} {each} of {n}: {alarms / n:.2f} [{low:.2f}, {high:.2f}]")
    reasons = Counter(next(key for key in REASONS if key in one) for _, texts in judgements for one in texts[1:])
    if reasons:
        print(f"{'':34s} " + ", ".join(f"{REASONS[key]} {n}" for key, n in reasons.most_common()))


def held_out(arguments) -> Iterator[Volume]:
    """The scans of patients of the held-out fold."""
    workspace = Workspace.open(arguments.workspace)
    slices = workspace.slices()
    test = split_slices(slices, load_folds(workspace), arguments.fold).test
    wanted = set(slices.patients[test].tolist())
    found = [
        scan
        for scan in discover(arguments.scans, labels=False, workers=1).scans
        if hashed(scan.patient, workspace.settings.salt) in wanted
    ]
    for scan in found[: arguments.patients]:
        with quiet():
            yield read_volume(scan)


def real(folder: Path) -> Iterator[tuple[str, Volume]]:
    if not folder.is_dir():
        print(f"real CT is skipped: {folder} does not exist (set --real or ILDFV_REAL_CT)")
        return
    for scan in discover(folder, labels=False, workers=1).scans:
        with quiet():
            try:
                yield scan.source.name, read_volume(scan)
            except InputError as error:
                print(f"real CT {scan.source.name}: refused; {error}")


def _each(volume: Volume, change) -> Volume:
    return replace(
        volume, hu=np.stack([np.round(change(one.astype(np.float64))) for one in volume.hu]).astype(np.int16)
    )


def drawn(volume: Volume, kernel: str | None = None, **changes) -> Volume:
    """The phantom of a scan, drawn again with other properties. kernel: ConvolutionKernel in its header."""
    _, seed, number = volume.patient_id.split("-")
    patient = replace(draw_patient(int(seed), int(number)), **changes)
    heights_, _ = heights(patient, len(volume.hu))
    scanner = Scanner(patient)
    technique = replace(
        volume.technique, thickness=patient.thickness, kernel=volume.technique.kernel if kernel is None else kernel
    )
    return replace(volume, hu=np.stack([scanner.slice(float(z))[0] for z in heights_]), technique=technique)


def _noise(one: np.ndarray) -> np.ndarray:
    grains = np.random.default_rng(int(abs(one).sum()) % 2**32).normal(size=one.shape)
    return one + 120 * ndimage.gaussian_filter(grains, 0.7)  # noise of 50 HU, correlated as in CT


CHANGES = {
    "held-out (false alarms)": lambda volume: volume,
    "inverted": lambda volume: _each(volume, lambda one: -1000 - one),
    "unscaled, +1024": lambda volume: _each(volume, lambda one: one + 1024),
    "scaled twice, −1024": lambda volume: _each(volume, lambda one: np.maximum(one - 1024, -2048)),
    "smooth kernel, σ 1.5 pixels": lambda volume: _each(volume, lambda one: ndimage.gaussian_filter(one, 1.5)),
    "sharp kernel": lambda volume: _each(volume, lambda one: one + 1.5 * (one - ndimage.gaussian_filter(one, 1.0))),
    "noise of 50 HU": lambda volume: _each(volume, _noise),
    "30 HU higher": lambda volume: _each(volume, lambda one: one + 30),
}
DRAWN: dict[str, dict] = {
    "drawn again (false alarms)": {},
    "sections of 10 mm": {"thickness": 10.0},
    "another kernel": {"blur": 0.45, "sharp": 0.9, "noise": 20.0, "kernel": "A70 sharp"},
}
REASONS = {  # words in a sentence → name of the reason in the table
    "mm wide": "pixel size",
    "mm apart": "spacing",
    "mm thick": "thickness",
    "convolution kernel": "kernel",
    "air around": "air",
    "most lung": "lung area",
    "likely": "likelihood",
    "PCA of": "PCA residual",
}


def head(volume: Volume, seed: int) -> np.ndarray:
    """A skull with brain and air-filled sinuses, HU of the volume's shape."""
    return _body(volume, seed, [(0.36, 0.44, 900, 0, 0), (0.33, 0.41, 35, 0, 0), (0.05, 0.06, -950, 0.0, -0.3)])


def abdomen(volume: Volume, seed: int) -> np.ndarray:
    """Fat, soft tissue, a spine and gas in the bowel, HU of the volume's shape."""
    gas = [(0.05, 0.03, -970, 0.1, -0.12), (0.03, 0.04, -970, -0.12, -0.05)]
    return _body(volume, seed, [(0.45, 0.34, -100, 0, 0), (0.41, 0.30, 50, 0, 0), (0.05, 0.05, 400, 0, 0.2), *gas])


def _body(volume: Volume, seed: int, ellipses) -> np.ndarray:
    """Ellipses (half width, half height, HU, x, y), relative to the side, drawn one over the other, with noise."""
    m, h, w = volume.hu.shape
    y, x = np.mgrid[:h, :w] / max(h, w) - 0.5
    plane = np.full((h, w), -1000.0)
    for a, b, hu, right, down in ellipses:
        plane[((x - right) / a) ** 2 + ((y - down) / b) ** 2 < 1] = hu
    rng = np.random.default_rng(seed)
    return np.stack([np.round(plane + 15 * rng.standard_normal((h, w))) for _ in range(m)]).astype(np.int16)


if __name__ == "__main__":
    main()
