"""How well slices of one patient are recognised by their anatomy (`ildfv similar`), and how different patients are.

    python -m bench.bench_same_patient --scans SCANS [--real ../shared/data] [--patients 30]

Each scan is copied and changed. A lung signature is a vector that describes the lung of a slice
(`inference.lung_signatures`). The signatures of the copy are correlated with those of the original scan, which must be
found, and with those of all other scans, which must not be found. For each kind of change, the highest correlations are
shown.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from ildfv.datasets.convert import read_volume
from ildfv.datasets.discovery import discover
from ildfv.errors import InputError
from ildfv.inference.lung_signatures import SAME, highest_correlations, lung_signatures
from ildfv.scans.libraries import quiet
from ildfv.scans.prepared_lungs import lungs_of
from ildfv.scans.volume import Volume
from ildfv.scans.windows import windowed

REAL = Path(os.environ.get("ILDFV_REAL_CT", "../shared/data"))
SLICES = 16  # evenly spaced slices of a scan
FEWEST = 2  # scans with at most this many slices are omitted
ONE = {"ct-64.nrrd": "ct-64", "ct-64Dicom": "ct-64"}  # files of one patient


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", type=Path, required=True)
    parser.add_argument("--real", type=Path, default=REAL)
    parser.add_argument("--patients", type=int, default=30)
    arguments = parser.parse_args()
    for folder, number in ((arguments.scans, arguments.patients), (arguments.real, 99)):
        scans = [(name, volume) for name, volume in volumes(folder, number) if len(volume.hu) > FEWEST]
        show(f"{folder}", scans)


def show(what: str, scans: list[tuple[str, Volume]]) -> None:
    """Prints the correlations of each kind of copy with its scan, and those of scans of different patients."""
    print(f"{what}: {len(scans)} scans; a slice is recognised from a correlation of {SAME}")
    stored, others = [signatures(volume) for _, volume in scans], []
    for name, change in COPIES.items():
        copies = [signatures(change(volume)) for _, volume in scans]
        own = [highest_correlations(copy, one) for copy, one in zip(copies, stored, strict=True)]
        slices, best = np.concatenate(own), np.array([values.max() for values in own])
        print(
            f"{name:28s} slices found {np.mean(slices >= SAME):.3f}, scans found {np.mean(best >= SAME):.3f}; "
            f"correlation of slices {np.quantile(slices, 0.05):.2f} to {np.quantile(slices, 0.95):.2f}, lowest of the "
            f"scans' highest {best.min():.2f}"
        )
        others += [
            highest_correlations(copies[i], stored[j])
            for i, (one, _) in enumerate(scans)
            for j, (other, _) in enumerate(scans)
            if one != other
        ]
    found = np.concatenate(others)
    print(
        f"{'different patients':28s} slices found {np.mean(found >= SAME):.5f} of {len(found)}; highest correlation "
        f"{found.max():.3f}, 99.9 % below {np.quantile(found, 0.999):.3f}"
    )


def signatures(volume: Volume) -> np.ndarray:
    """The signatures of at most SLICES slices that show lung, (m, 4096)."""
    rows = np.unique(np.linspace(0, len(volume.hu) - 1, SLICES).astype(int))
    images = np.stack([windowed(volume.hu[z]) for z in rows])
    found = lung_signatures(images, lungs_of(images, np.full(len(images), volume.paper_pixel_area)))
    return found[found.any(axis=1)]


def volumes(folder: Path, number: int) -> Iterator[tuple[str, Volume]]:
    """Yields (patient, scan)."""
    if not folder.is_dir():
        print(f"{folder} does not exist, skipped")
        return
    for scan in discover(folder, labels=False, workers=1).scans[:number]:
        with quiet():
            try:
                yield ONE.get(scan.source.name, scan.patient), read_volume(scan)
            except InputError as error:
                print(f"{scan.source.name}: {error}")


def _changed(volume: Volume, change: Callable[[np.ndarray], np.ndarray], pixel: float = 1.0) -> Volume:
    """The volume with changed slices. pixel: factor of the pixel side."""
    hu = np.stack([np.rint(change(one.astype(np.float64))) for one in volume.hu]).astype(np.int16)
    grid = replace(volume.geometry, shape=hu.shape, steps=volume.geometry.steps * np.array([1, pixel, pixel])[:, None])
    return replace(volume, hu=hu, geometry=grid)


def _noise(one: np.ndarray) -> np.ndarray:
    grains = np.random.default_rng(int(abs(one).sum()) % 2**32).normal(size=one.shape)
    return one + 120 * ndimage.gaussian_filter(grains, 0.7)  # noise of 50 HU, correlated as in CT


def _cropped(one: np.ndarray) -> np.ndarray:
    rows, columns = (n // 12 for n in one.shape)
    return one[rows : -rows or None, columns : -columns // 2 or None]


def _thicker(volume: Volume) -> Volume:
    """Each slice is the mean of itself and the next one."""
    return replace(volume, hu=np.rint((volume.hu[:-1].astype(float) + volume.hu[1:]) / 2).astype(np.int16))


COPIES: dict[str, Callable[[Volume], Volume]] = {
    "unchanged": lambda volume: volume,
    "0.8 of the pixels": lambda volume: _changed(volume, lambda one: ndimage.zoom(one, 0.8, order=1), 1.25),
    "cropped": lambda volume: _changed(volume, _cropped),
    "30 HU higher, scaled 1.05": lambda volume: _changed(volume, lambda one: 1.05 * one + 30),
    "clipped to −1000 … 0 HU": lambda volume: _changed(volume, lambda one: np.clip(one, -1000, 0)),
    "noise of 50 HU": lambda volume: _changed(volume, _noise),
    "smooth kernel, σ 1.5 pixels": lambda volume: _changed(volume, lambda one: ndimage.gaussian_filter(one, 1.5)),
    "mean of two slices": _thicker,
}


if __name__ == "__main__":
    main()
