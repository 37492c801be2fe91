"""Statistics of the training slices that an exported predictor stores, to compare new scans with."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from ildfv.datasets.slice_store import Slices
from ildfv.errors import check
from ildfv.inference.batch import SliceBatch
from ildfv.inference.predictor import Predictor
from ildfv.inference.schema import HowPrepared, Images, Reference
from ildfv.inference.stored_lung import stored_lung
from ildfv.progress import Progress

REFERENCE_SLICES = 512  # maximum number of training slices whose likelihood is computed; they are evenly spaced
QUANTILES = 101
FLOOR_SLICES = 64  # maximum number of training slices from which the floor of contribution maps is computed
# Quantile of |r| that is the floor. On conv1 of phantoms, this floor increased the pixel AUC of maps by 0.02 to 0.04
# and Dice by 0.03 to 0.18.
FLOOR_QUANTILE = 0.9


@dataclass(frozen=True)
class TrainingStatistics:
    """Statistics of the slices `fit`, on which the models of a predictor were fitted."""

    slices: Slices
    fit: np.ndarray
    progress: Progress

    def geometry(self) -> Reference:
        """The statistics that do not depend on an encoding; the likelihoods are empty."""
        return Reference(
            log_likelihood={},
            pixel_side=_pixel_sides(self.slices, self.fit),
            spacing=_spacings(self.slices, self.fit),
            lung_area=_lung_areas(self.slices, self.fit),
        )

    def floor(self, predictor: Predictor, encoding: str) -> float:
        """The floor of the contribution maps; 0 if vectors are not normalised."""
        if not predictor.info.encodings[encoding].improved:
            return 0.0
        areas, rows = np.asarray(self.slices.pixel_area), self._spaced(FLOOR_SLICES)
        found = [
            predictor.raw_sizes(self._read(predictor, rows[areas[rows] == area], float(area)), encoding)
            for area in np.unique(areas[rows])
        ]
        return float(np.quantile(np.concatenate(found), FLOOR_QUANTILE))

    def likelihoods(self, predictor: Predictor, encoding: str) -> tuple[list[float], tuple[float, float]]:
        """(quantiles of the mean log likelihood per descriptor over training slices, range of the scans' medians)."""
        rows = self._spaced(REFERENCE_SLICES)
        areas, values = np.asarray(self.slices.pixel_area), np.full(len(rows), np.nan)
        with self.progress.task(f"{encoding}: reference statistics", total=len(rows)) as advance:
            for area in np.unique(areas[rows]):
                same = np.flatnonzero(areas[rows] == area)
                values[same] = predictor.log_likelihoods(self._read(predictor, rows[same], float(area)), encoding)
                advance(len(same))
        known = np.isfinite(values)
        check(bool(known.any()), f"training slices must have descriptors in the region of {encoding}, got none")
        values, series = values[known], self.slices.series[rows[known]]
        medians = [np.median(values[series == name]) for name in np.unique(series)]
        low, high = np.quantile(medians, [0.01, 0.99])  # the range of the extremes would grow with the number of scans
        return np.quantile(values, np.linspace(0, 1, QUANTILES)).tolist(), (float(low), float(high))

    def _read(self, predictor: Predictor, rows: np.ndarray, area: float) -> SliceBatch:
        """These slices, whose pixels have the same area, with HU if the predictor reads them, and stored lung masks."""
        hu = self.slices.hounsfield(rows) if predictor.reads_hounsfield else None
        return SliceBatch(self.slices.images(rows), area, hu, stored_lung(self.slices, rows))

    def _spaced(self, number: int) -> np.ndarray:
        """At most `number` of the fit slices, evenly spaced."""
        return self.fit[np.unique(np.linspace(0, len(self.fit) - 1, number).astype(int))]


def how_prepared(slices: Slices) -> HowPrepared:
    """How the slices were prepared. InputError: there are scans and images, or images with different windows."""
    images = None if (grey := slices.grey) is None else Images(**asdict(grey))
    return HowPrepared(**slices.preparation.given(), images=images)


def _pixel_sides(slices: Slices, fit: np.ndarray) -> tuple[float, float]:
    """(smallest, largest) side of a pixel, mm."""
    sides = np.sqrt(np.asarray(slices.pixel_area)[fit])
    return float(sides.min()), float(sides.max())


def _lung_areas(slices: Slices, fit: np.ndarray) -> tuple[float, float]:
    """(smallest, largest) area of lung, cm², on the slice with the most lung, over training scans."""
    area = slices.lung[fit] * np.asarray(slices.pixel_area)[fit] / 100
    scans, of = np.unique(slices.series[fit], return_inverse=True)
    most = np.zeros(len(scans))
    np.maximum.at(most, of, area)
    return float(most.min()), float(most.max())


def _spacings(slices: Slices, fit: np.ndarray) -> tuple[float, float] | None:
    """(smallest, largest) median slice distance over training scans, mm; None if no scan has two slices."""
    series, found = slices.series[fit], []
    for name in np.unique(series):
        positions = np.sort(slices.positions[fit][series == name])
        if len(positions) > 1:
            found.append(float(np.median(np.diff(positions))))
    return (min(found), max(found)) if found else None
