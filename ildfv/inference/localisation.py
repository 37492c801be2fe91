"""Evaluation of maps against label maps: whether the locations with high values show the pattern.

Maps are signed: a negative value is evidence against a pattern, and no measure uses absolute values. The measures of a
pattern use only slices that show the pattern on at least `MIN_PIXELS` pixels. They therefore do not depend on how well
a score separates slices with the pattern from slices without it. Intervals are from resampled patients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.stats import rankdata

from ildfv.errors import check
from ildfv.evaluation.intervals import RESAMPLES, confidence, resampled
from ildfv.evaluation.measures import Ratio, by_patient
from ildfv.evaluation.metrics import ratio
from ildfv.patterns import PATTERNS
from ildfv.scans.prepared_lungs import lungs_of
from ildfv.scans.windows import NORMAL, WINDOWS

MIN_PIXELS = 50  # pixels of a prepared slice; smaller areas of a pattern are mostly the border of a region
BATCH = 16  # slices whose maps are in memory at once, 0.8 MB per slice with four patterns
LOW_ATTENUATION = -950.0  # HU, the usual limit for emphysema
MEASURES = ("pixel_auc", "pointing_game", "dice")
COLUMNS = ("pixel_auc", "pointing_game", "both", "called", "true")  # the fields of `MapScores` (m, C)


# -- one map and one mask ----------------------------------------------------------------------------------------------


def pixel_auc(values: np.ndarray, mask: np.ndarray, within: np.ndarray | None = None) -> float:
    """Probability that a pixel of the pattern has a higher value than another pixel. A tie counts as one half.

    Parameters
    ----------
    values : ndarray of shape (h, w)
        The map.
    mask : ndarray of shape (h, w)
        Nonzero where the pattern is.
    within : ndarray of shape (h, w), optional
        Pixels that are evaluated; by default all.

    Returns
    -------
    float
        NaN if the pattern covers none or all of the pixels.
    """
    values, truth = _pixels(values, mask, within)
    positive = int(truth.sum())
    negative = len(truth) - positive
    if not positive or not negative:
        return float("nan")
    ranks = rankdata(values)
    return float((ranks[truth].sum() - positive * (positive + 1) / 2) / (positive * negative))


def pointing_game(
    values: np.ndarray, mask: np.ndarray, within: np.ndarray | None = None, *, tolerance: int = 0
) -> float:
    """Fraction of the pixels with the highest value that show the pattern. For one such pixel, it is 1 or 0.

    Source: Zhang et al., Top-down neural attention by excitation backprop, IJCV 126 (2018). They use a tolerance of 15
    pixels.

    Parameters
    ----------
    values, mask, within : ndarray of shape (h, w)
        As for `pixel_auc`.
    tolerance : int
        Distance from the pattern, in pixels, up to which a pixel counts as a pixel of the pattern.

    Returns
    -------
    float
        In [0, 1]; NaN without a pixel of the pattern.
    """
    if tolerance:
        mask = ndimage.binary_dilation(np.asarray(mask) != 0, iterations=tolerance)
    values, truth = _pixels(values, mask, within)
    return float(truth[values == values.max()].mean()) if truth.any() else float("nan")


def dice_at(values: np.ndarray, mask: np.ndarray, threshold: float, within: np.ndarray | None = None) -> float:
    """Dice coefficient of the pixels at or above the threshold and the pixels of the pattern; NaN if both are empty.

    Parameters
    ----------
    values, mask, within : ndarray of shape (h, w)
        As for `pixel_auc`.
    threshold : float
        Threshold, in units of the map.
    """
    values, truth = _pixels(values, mask, within)
    called = values >= threshold
    return float(ratio(2 * (called & truth).sum(), called.sum() + truth.sum()))


def best_threshold(values: np.ndarray, truth: np.ndarray) -> float:
    """The threshold with the largest Dice coefficient over all given pixels, or the highest of several such thresholds.

    values, truth: (n,).
    """
    order = np.argsort(-values, kind="stable")
    ranked, hits = values[order], np.cumsum(truth[order] != 0)
    last = np.flatnonzero(np.append(np.diff(ranked) != 0, True))  # equal values share a threshold
    scores = 2 * hits[last] / (last + 1 + hits[-1])
    return float(ranked[last[np.argmax(scores)]])


# -- systems over slices -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LabelledSlices:
    """m prepared slices with label maps.

    images: uint8 (m, 3, 224, 224). labels: uint8 (m, 224, 224), 0 or pattern index + 1. patients: (m,). pixel_area:
    area of a pixel on the original grid, mm², (m,). lung: bool (m, 224, 224).
    """

    images: np.ndarray
    labels: np.ndarray
    patients: np.ndarray
    pixel_area: np.ndarray
    lung: np.ndarray

    @classmethod
    def read(cls, slices, indices, *, lungs: str = "rule") -> LabelledSlices:
        """The given slices of a workspace (`datasets.slice_store.Slices`). lungs: method of `scans.prepared_lungs`."""
        indices = np.asarray(indices)
        images, area = slices.images(indices), np.asarray(slices.pixel_area)[indices]
        labels = slices.label_maps(indices)
        return cls(images, labels, slices.patients[indices], area, lungs_of(images, area, lungs))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows) -> LabelledSlices:
        return LabelledSlices(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def shown(self, c: int) -> np.ndarray:
        """Whether each slice shows pattern c on at least `MIN_PIXELS` pixels, bool (m,)."""
        return (self.labels == c + 1).sum(axis=(1, 2)) >= MIN_PIXELS


System = Callable[[LabelledSlices], np.ndarray]  # returns maps, float (m, C, 224, 224)


@dataclass(frozen=True)
class Estimated:
    """A measure over all slices that show a pattern, its 95 % interval, and the numbers of patients and slices."""

    value: float | None
    interval: tuple[float, float] | None
    patients: int
    slices: int


@dataclass(frozen=True)
class MapScores:
    """The measures of one system on m held-out slices and C patterns; NaN where a slice does not show the pattern.

    patients: (m,). pixel_auc, pointing_game: (m, C). called: number of pixels at or above the threshold, (m, C). true:
    number of pixels of the pattern. both: number of pixels that are both. thresholds: the best threshold on the
    training slices, (C,); NaN if no training slice shows the pattern.
    """

    patients: np.ndarray
    pixel_auc: np.ndarray
    pointing_game: np.ndarray
    both: np.ndarray
    called: np.ndarray
    true: np.ndarray
    thresholds: np.ndarray

    @classmethod
    def joined(cls, folds: Sequence[MapScores]) -> MapScores:
        """The scores of the slices of all folds. The thresholds are those of the last fold."""
        rows = {name: np.concatenate([getattr(one, name) for one in folds]) for name in ("patients", *COLUMNS)}
        return cls(**rows, thresholds=folds[-1].thresholds)

    def estimate(self, measure: str, c: int, *, resamples: int = RESAMPLES, seed: int = 0) -> Estimated:
        """The estimate of one of `MEASURES` for pattern c.

        Pixel AUC and pointing game are means over slices. Dice is computed over the pixels of all slices together.
        """
        check(measure in MEASURES, f"measure must be {', '.join(MEASURES)}, got {measure!r}")
        names, owner = np.unique(self.patients, return_inverse=True)
        if measure == "dice":
            known = np.isfinite(self.both[:, c])
            above, below = 2 * self.both[:, c], self.called[:, c] + self.true[:, c]
        else:
            values = getattr(self, measure)[:, c]
            known = np.isfinite(values)
            above, below = values, known
        numerator, denominator = (by_patient(part, owner, len(names)) for part in (above, below))
        found = Ratio(numerator, denominator)
        value = float(found(np.ones((1, len(names))))[0]) if len(names) else float("nan")
        weights = resampled(max(1, len(names)), resamples, seed=seed)
        return Estimated(
            value if np.isfinite(value) else None,
            confidence(found, weights) if np.isfinite(value) else None,
            found.patients,
            int(known.sum()),
        )


def evaluate_maps(
    systems: Mapping[str, System],
    training: LabelledSlices,
    held_out: LabelledSlices,
    *,
    within: str = "slice",
    tolerance: int = 0,
    n_patterns: int = len(PATTERNS),
) -> dict[str, MapScores]:
    """The measures of each system on held-out slices, with thresholds fitted on training slices.

    Parameters
    ----------
    systems : mapping of str to function
        Functions that return the maps, float (m, C, 224, 224), of `LabelledSlices`. They are called with at most
        `BATCH` slices.
    training, held_out : LabelledSlices
        Slices of different patients. A few dozen training slices per pattern suffice for a threshold.
    within : {"slice", "lung"}
        Pixels that are evaluated. On the whole slice, a lung mask alone reaches high scores. Inside the lung it carries
        no information.
    tolerance : int
        Tolerance of the pointing game, pixels.

    Raises
    ------
    InputError
        A patient is in both sets, or a system returns maps of another shape.
    """
    check(within in ("slice", "lung"), f'within must be "slice" or "lung", got "{within}"')
    shared = set(training.patients.tolist()) & set(held_out.patients.tolist())
    check(not shared, f"training and held-out slices must be of different patients, {len(shared)} are in both")
    found = {}
    for name, system in systems.items():
        thresholds = _thresholds(name, system, training, within, n_patterns)
        rows = [
            _scores(one, c, maps[c], thresholds[c], within, tolerance)
            for one, maps in _maps(name, system, held_out, n_patterns)
            for c in range(n_patterns)
        ]
        columns = np.array(rows, dtype=float).reshape(len(held_out), n_patterns, len(COLUMNS))
        by_name = dict(zip(COLUMNS, np.moveaxis(columns, 2, 0), strict=True))
        found[name] = MapScores(patients=held_out.patients, thresholds=thresholds, **by_name)
    return found


def _maps(name: str, system: System, slices: LabelledSlices, n_patterns: int):
    """Yields (slice, its maps (C, 224, 224)) for each slice."""
    for start in range(0, len(slices), BATCH):
        some = slices[start : start + BATCH]
        maps = np.asarray(system(some))
        expected = (len(some), n_patterns, *slices.labels.shape[1:])
        check(maps.shape == expected, f"maps of {name} must have shape {expected}, got {maps.shape}")
        yield from ((some[[i]], maps[i]) for i in range(len(some)))


def _scores(one: LabelledSlices, c: int, values: np.ndarray, threshold: float, within: str, tolerance: int) -> tuple:
    """The `COLUMNS` of one slice and pattern."""
    if not one.shown(c)[0]:
        return (np.nan,) * len(COLUMNS)
    mask, inside = one.labels[0] == c + 1, one.lung[0] if within == "lung" else None
    pixels, truth = _pixels(values, mask, inside)
    called = pixels >= threshold
    return (
        pixel_auc(values, mask, inside),
        pointing_game(values, mask, inside, tolerance=tolerance),
        *((np.nan,) * 3 if np.isnan(threshold) else ((called & truth).sum(), called.sum(), truth.sum())),
    )


def _thresholds(name: str, system: System, training: LabelledSlices, within: str, n_patterns: int) -> np.ndarray:
    values: list[list] = [[] for _ in range(n_patterns)]
    for one, maps in _maps(name, system, training, n_patterns):
        for c in range(n_patterns):
            if one.shown(c)[0]:
                inside = one.lung[0] if within == "lung" else None
                values[c].append(_pixels(maps[c].astype(np.float32), one.labels[0] == c + 1, inside))
    joined = [tuple(map(np.concatenate, zip(*pairs, strict=True))) if pairs else None for pairs in values]
    return np.array([np.nan if pair is None else best_threshold(*pair) for pair in joined])


def _pixels(values, mask, within) -> tuple[np.ndarray, np.ndarray]:
    """The values and the truth of the evaluated pixels, (n,) each."""
    values, mask = np.asarray(values), np.asarray(mask) != 0
    check(values.shape == mask.shape, f"mask must have the map's shape {values.shape}, got {mask.shape}")
    if within is None:
        return values.ravel(), mask.ravel()
    inside = np.asarray(within) != 0
    return values[inside], mask[inside]


# -- controls ----------------------------------------------------------------------------------------------------------


def lung_control(slices: LabelledSlices) -> np.ndarray:
    """The lung mask as the map of every pattern, float (m, 4, 224, 224)."""
    return _for_all(slices.lung)


def low_attenuation_control(slices: LabelledSlices) -> np.ndarray:
    """The lung below −950 HU as the map of every pattern, float (m, 4, 224, 224)."""
    return _for_all(slices.lung & (_hounsfield(slices.images) < LOW_ATTENUATION))


def density_control(slices: LabelledSlices) -> np.ndarray:
    """The HU inside the lung, and the lowest HU elsewhere, as the map of every pattern, float (m, 4, 224, 224)."""
    return _for_all(np.where(slices.lung, _hounsfield(slices.images), WINDOWS[NORMAL][0]))


CONTROLS: dict[str, System] = {
    "lung mask": lung_control,
    "HU below −950": low_attenuation_control,
    "HU": density_control,
}


def _hounsfield(images: np.ndarray) -> np.ndarray:
    low, high = WINDOWS[NORMAL]
    return low + images[:, NORMAL].astype(np.float32) * ((high - low) / 255)


def _for_all(planes: np.ndarray) -> np.ndarray:
    return np.repeat(planes[:, None].astype(np.float32), len(PATTERNS), axis=1)
