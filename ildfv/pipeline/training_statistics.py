"""Statistics of the training slices, which an exported predictor stores for comparison with new scans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ildfv.datasets.slice_store import Slices
from ildfv.errors import check
from ildfv.inference.batch import SliceBatch
from ildfv.inference.pooled_encodings import Texture
from ildfv.inference.schema import HowPrepared, Images, Reference
from ildfv.inference.slice_predictor import SlicePredictor
from ildfv.inference.stored_lung import stored_lung
from ildfv.progress import Progress
from ildfv.scans.windows import GRID

REFERENCE_SLICES = 512  # maximum number of training slices whose likelihood is computed; they are evenly spaced
QUANTILES = 101
FEWEST_SCANS = 5  # minimum number of scans for the range of their medians
FLOOR_SLICES = 64  # maximum number of training slices from which the floor of contribution maps is computed
# Quantile of |r|, the absolute values of Fisher vectors before normalisation, that is the floor. On conv1 of phantoms,
# this floor increased the pixel AUC of maps by 0.02 to 0.04 and Dice by 0.03 to 0.18.
FLOOR_QUANTILE = 0.9


@dataclass(frozen=True)
class TrainingStatistics:
    """Statistics of the slices `fit`, on which the models of a predictor were fitted.

    validation: slices of patients on whom the mixture and the PCA of `residuals` were not fitted.
    """

    slices: Slices
    fit: np.ndarray
    validation: np.ndarray
    progress: Progress

    def geometry(self) -> Reference:
        """The statistics that do not depend on an encoding; the likelihoods are empty."""
        return Reference(
            log_likelihood={},
            pixel_side=_pixel_sides(self.slices, self.fit),
            spacing=_spacings(self.slices, self.fit),
            lung_area=_lung_areas(self.slices, self.fit),
            field=_fields(self.slices, self.fit),
            grid=_grids(self.slices, self.fit),
            scan_slices=_scan_slices(self.slices, self.fit),
            **_techniques(self.slices, self.fit),
        )

    def floor(self, predictor: SlicePredictor, encoding: str) -> float:
        """The floor of the contribution maps; 0 if vectors are not normalised."""
        if not predictor.info.encodings[encoding].improved:
            return 0.0
        areas, rows = np.asarray(self.slices.paper_pixel_area), _spaced(self.fit, FLOOR_SLICES)
        found = [
            predictor.raw_sizes(self._read(predictor, rows[areas[rows] == area], float(area)), encoding)
            for area in np.unique(areas[rows])
        ]
        return float(np.quantile(np.concatenate(found), FLOOR_QUANTILE))

    def likelihoods(self, predictor: SlicePredictor, encoding: str) -> tuple[list[float], tuple[float, float]]:
        """(quantiles of the mean log likelihood per descriptor over training slices, range of the scans' medians).

        InputError: no training slice has descriptors in the region of the encoding.
        """
        rows = _spaced(self.fit, REFERENCE_SLICES)
        values = self._texture(predictor, encoding, rows).likelihood
        check(
            bool(np.isfinite(values).any()),
            f"training slices must have descriptors in the region of {encoding}, got none: export an encoding "
            "of region slice, or prepare the scans with other lung masks",
        )
        return _quantiles(values), _range(self._medians(values, rows))

    def residuals(
        self, predictor: SlicePredictor, encoding: str
    ) -> tuple[list[float], tuple[float, float] | None] | None:
        """(quantiles of the PCA residual over validation slices, range of the scans' medians or None).

        The range is None for fewer than five scans. The result is None if no slice has a residual.
        """
        rows = _spaced(self.validation, REFERENCE_SLICES)
        values = self._texture(predictor, encoding, rows).residual
        if not np.isfinite(values).any():
            return None
        medians = self._medians(values, rows)
        return _quantiles(values), _range(medians) if len(medians) >= FEWEST_SCANS else None

    def _texture(self, predictor: SlicePredictor, encoding: str, rows: np.ndarray) -> Texture:
        """The texture of these slices under an encoding of a predictor."""
        areas, found = np.asarray(self.slices.paper_pixel_area)[rows], Texture(*np.full((2, len(rows)), np.nan))
        with self.progress.task(f"{encoding}: reference statistics", total=len(rows)) as advance:
            for area in np.unique(areas):
                same = np.flatnonzero(areas == area)
                some = predictor.texture(self._read(predictor, rows[same], float(area)), encoding)
                found.likelihood[same], found.residual[same] = some
                advance(len(same))
        return found

    def _medians(self, values: np.ndarray, rows: np.ndarray) -> list[float]:
        """The median over the slices of each scan that has values."""
        known = np.isfinite(values)
        values, series = values[known], self.slices.series[rows[known]]
        return [float(np.median(values[series == name])) for name in np.unique(series)]

    def _read(self, predictor: SlicePredictor, rows: np.ndarray, area: float) -> SliceBatch:
        """These slices, whose pixels have the same area, with HU if the predictor reads them, and stored lung masks."""
        hu = self.slices.hounsfield(rows) if predictor.reads_hounsfield else None
        return SliceBatch(self.slices.images(rows), area, hu, stored_lung(self.slices, rows))


def _spaced(rows: np.ndarray, number: int) -> np.ndarray:
    """At most `number` of the slices, evenly spaced."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, number).astype(int))]


def _quantiles(values: np.ndarray) -> list[float]:
    return np.nanquantile(values, np.linspace(0, 1, QUANTILES)).tolist()


def _range(medians: list[float]) -> tuple[float, float]:
    """The 1st and 99th percentile, because the minimum and the maximum depend on the number of scans."""
    low, high = np.quantile(medians, [0.01, 0.99])
    return float(low), float(high)


def _techniques(slices: Slices, fit: np.ndarray) -> dict[str, Any]:
    """The fields of `Reference` about the technique of the training scans."""
    parts = np.unique(np.searchsorted(slices.starts, fit, side="right") - 1)
    scans = [slices.techniques[part] for part in parts]
    thicknesses = [one.thickness for one in scans if one.thickness is not None]
    airs = [one.air for one in scans if one.air is not None]
    return {
        "thickness": (min(thicknesses), max(thicknesses)) if thicknesses else None,
        "air": (min(airs), max(airs)) if airs else None,
        "kernels": _counts(one.kernel for one in scans),
        "manufacturers": _counts(one.manufacturer for one in scans),
    }


def _counts(names: Iterable[str]) -> dict[str, int]:
    """The number of occurrences of each name, the most frequent first; unknown names are not counted."""
    return dict(sorted(Counter(filter(None, names)).items(), key=lambda item: (-item[1], item[0])))


def how_prepared(slices: Slices) -> HowPrepared:
    """The preparation of the slices. InputError: there are both scans and images, or images with different windows."""
    images = None if (grey := slices.grey) is None else Images(**asdict(grey))
    return HowPrepared(**slices.preparation.given(), images=images)


def _pixel_sides(slices: Slices, fit: np.ndarray) -> tuple[float, float]:
    """(smallest, largest) side of a pixel, mm."""
    sides = np.sqrt(np.asarray(slices.pixel_area)[fit])
    return float(sides.min()), float(sides.max())


def _fields(slices: Slices, fit: np.ndarray) -> tuple[float, float]:
    """(smallest, largest) side of the square around a slice, mm."""
    sides = GRID * np.sqrt(np.asarray(slices.paper_pixel_area)[fit])
    return float(sides.min()), float(sides.max())


def _grids(slices: Slices, fit: np.ndarray) -> tuple[int, int]:
    """(smallest, largest) number of rows or columns, whichever is larger, of the training slices."""
    grids = slices.grids[fit]
    return int(grids.min()), int(grids.max())


def _scan_slices(slices: Slices, fit: np.ndarray) -> tuple[int, int]:
    """(smallest, largest) number of training slices of a scan."""
    numbers = np.unique(slices.series[fit], return_counts=True)[1]
    return int(numbers.min()), int(numbers.max())


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
