"""Evaluation of maps against label maps: whether the locations with high values show the pattern.

Maps are signed: a negative value is evidence against a pattern, and no measure uses absolute values. The measures of a
pattern use only slices that show the pattern on at least `MIN_PIXELS` pixels. They therefore do not depend on how well
a score separates slices with the pattern from slices without it. Intervals are from resampled patients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ildfv.appearance import by_appearance
from ildfv.errors import check
from ildfv.evaluation.intervals import RESAMPLES, confidence, resampled
from ildfv.evaluation.measures import Ratio, by_patient
from ildfv.inference.map_measures import best_threshold, evaluated_pixels, pixel_auc, pointing_game
from ildfv.patterns import PATTERNS
from ildfv.scans.prepared_lungs import lungs_of

MIN_PIXELS = 50  # pixels of a prepared slice; smaller areas of a pattern are mostly the border of a region
BATCH = 16  # slices whose maps are in memory at once, 0.8 MB per slice with four patterns
MEASURES = ("pixel_auc", "pointing_game", "dice")
COLUMNS = ("pixel_auc", "pointing_game", "both", "called", "true")  # the fields of `MapScores` (m, C)


@dataclass(frozen=True)
class LabelledSlices:
    """m prepared slices with label maps.

    images: uint8 (m, 3, 224, 224). labels: uint8 (m, 224, 224), 0 or pattern index + 1. patients: (m,). pixel_area:
    area of a pixel of a 512×512 grid, mm², (m,). lung: bool (m, 224, 224).
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
        images, area = slices.images(indices), np.asarray(slices.paper_pixel_area)[indices]
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
    """A measure over all slices that show a pattern, its 95 % interval, and the numbers of patients and slices.

    value and interval are None if they are undefined.
    """

    value: float | None
    interval: tuple[float, float] | None
    patients: int
    slices: int


@dataclass(frozen=True)
class MapScores:
    """The measures of one system on m held-out slices and C patterns; NaN where a slice does not show the pattern.

    patients: (m,). pixel_auc, pointing_game: (m, C). called: number of pixels at or above the threshold, (m, C). true:
    number of pixels of the pattern. both: number of pixels of the pattern at or above the threshold. thresholds: the
    best threshold on the training slices, (C,); NaN if no training slice shows the pattern.
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
        check(measure in MEASURES, f"measure must be one of {', '.join(MEASURES)}, got {measure!r}")
        names, _, owner = by_appearance(self.patients)
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
        Pixels that are evaluated. On the whole slice, a lung mask alone has high scores. Inside the lung, it
        contains no information.
    tolerance : int
        Tolerance of the pointing game, pixels.
    n_patterns : int
        Number C of patterns of the maps.

    Returns
    -------
    dict of str to MapScores
        By name of the system.

    Raises
    ------
    InputError
        `within` is unknown, a patient is in both sets, or a system returns maps of another shape.
    """
    check(within in ("slice", "lung"), f'within must be "slice" or "lung", got "{within}"')
    shared = set(training.patients.tolist()) & set(held_out.patients.tolist())
    check(not shared, f"training and held-out slices must be of different patients, got {len(shared)} in both")
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
    pixels, truth = evaluated_pixels(values, mask, inside)
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
                values[c].append(evaluated_pixels(maps[c].astype(np.float32), one.labels[0] == c + 1, inside))
    joined = [tuple(map(np.concatenate, zip(*pairs, strict=True))) if pairs else None for pairs in values]
    return np.array([np.nan if pair is None else best_threshold(*pair) for pair in joined])
