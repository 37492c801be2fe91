"""The prediction for one scan, per slice and for the whole scan, as a dataclass, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ildfv.inference.cnn_methods import GRAD_CAM, CnnMethod
from ildfv.inference.conformal import SETS
from ildfv.inference.extent import lung_height
from ildfv.patterns import Threshold
from ildfv.scans.geometry import Geometry
from ildfv.scans.pixel_size import Field

KIND = "ildfv prediction"
VERSION = 1
ANSWER = "prediction.json"  # written last: a folder without this file is unfinished


@dataclass(frozen=True)
class HeadAnswer:
    """The results of one head for m slices and C patterns.

    These fields have a value for each slice and pattern, (m, C). scores: NaN for a pattern without labels in the
    training data. probability: NaN without calibration and outside the lung (`in_lung`). presence: False outside the
    lung. pixels: estimated number of pixels of the scan's own grid, at most the number of lung pixels; NaN if it cannot
    be estimated. area: cm². sets: the conformal sets in words, or None; no_sets then has the reason.

    These fields have a value for each pattern, (C,). thresholds: the smallest score with which the pattern is present;
    None if unknown. scan_probability: probability that any slice shows the pattern, calibrated on the highest scores of
    held-out scans, or on their pooled scores if `pooling` is not "". first: the slices to look at first. zones: the
    shares of the lower, middle and upper third of the lung. shares: the shares of the sides (`inference.extent`).
    mean_error: root mean square error of the mean area of a slice on held-out scans, cm², and the number of these
    scans, or None if unknown. auc: the AUC on held-out patients and its 95 % interval, or None if unknown.

    performance: a sentence that compares the head with baselines. sets_level: coverage of the conformal sets. pooling:
    for a head that was fitted to labels of scans, the method that pools the scores of slices (`estimators.bags`);
    otherwise "". scan_scores: the pooled scores, (C,). With pooling, a pattern is present on the scan if its pooled
    score reaches the threshold, and on a slice if the score of this slice reaches the threshold. Without pooling, a
    pattern is present on the scan if it is present on any slice.
    """

    name: str
    scores: np.ndarray
    probability: np.ndarray
    presence: np.ndarray
    pixels: np.ndarray
    area: np.ndarray
    thresholds: list[float | None]
    best: np.ndarray = field(default_factory=lambda: np.empty(0, int))  # (C,), the lung slice with the highest score
    scan_probability: np.ndarray = field(default_factory=lambda: np.empty(0))
    no_probability: list[str | None] = field(default_factory=list)  # why scan_probability is NaN; None: it is known
    no_area: list[str | None] = field(default_factory=list)  # why areas are NaN; None: they are known
    extent: Threshold | None = None  # T: the smallest extent with which a pattern was present on a training slice
    first: list[list[int]] = field(default_factory=list)
    zones: list[dict[str, float] | None] = field(default_factory=list)
    shares: list[dict[str, float] | None] = field(default_factory=list)
    auc: list[tuple[float, tuple[float, float] | None] | None] = field(default_factory=list)
    performance: str = ""
    mean_error: list[tuple[float, int] | None] = field(default_factory=list)
    sets: list[list[str]] | None = None
    sets_level: float | None = None
    no_sets: str = ""
    pooling: str = ""
    scan_scores: np.ndarray = field(default_factory=lambda: np.empty(0))

    @property
    def labelled(self) -> list[bool]:
        """Whether each pattern had labels in the training data. Without labels, all its results are undefined."""
        return [bool(known) for known in np.isfinite(self.scores).any(axis=0)]

    @property
    def present(self) -> list[bool | None]:
        """Whether each pattern is present on the scan; None for a pattern that had no labels in the training data."""
        shown = np.any(self.presence, axis=0)
        if self.pooling:
            shown = self.scan_scores >= [np.inf if limit is None else limit for limit in self.thresholds]
        return [bool(one) if known else None for one, known in zip(shown, self.labelled, strict=True)]

    def on_present_slices(self, values: np.ndarray, c: int) -> float:
        """The sum of pixels or areas (m, C) over the slices with pattern c.

        It is NaN for heads fitted to labels of scans, and if no value is known, as for areas on an image.
        """
        known = not self.pooling and bool(np.isfinite(values[:, c]).any())
        return float(values[self.presence[:, c], c].sum()) if known else float("nan")

    def expected_auc(self, c: int) -> tuple[float | None, tuple[float, float] | None]:
        """The AUC of pattern c on held-out patients and its 95 % interval, None if unknown."""
        return (self.auc[c] if self.auc else None) or (None, None)

    def highest_probability(self, c: int) -> float:
        """The highest probability of pattern c on a slice; NaN without calibration."""
        known = self.probability[np.isfinite(self.probability[:, c]), c]
        return float(known.max()) if len(known) else float("nan")

    def slices_by_set(self, c: int) -> dict[str, int] | None:
        """The number of slices with each conformal set of pattern c; None without sets."""
        if self.sets is None:
            return None
        return {words: sum(row[c] == words for row in self.sets) for words in SETS}


@dataclass(frozen=True)
class Prediction:
    """The prediction for one scan.

    scan: pseudonym of the scan. positions: position of each slice along the slice normal, mm, (m,). lung: area of lung
    on each slice, cm², (m,). heads: results by head, the primary head first. statements: sentences that compare the
    scan with the training data. predictor: version, training data and checksum of the predictor. images: prepared
    slices, uint8 (m, 3, 224, 224). contributions: contribution maps of the head `contributions_head`, float32 (m, C,
    224, 224), or None. limited: whether these maps have a floor (`inference.contributions`). cnn_maps: maps of the
    outputs of the network of the head `cnn_maps_head` by the method `cnn_method`, in the same format. methods: a
    paragraph for a paper. identity: identifiers of the scan, only if requested.
    """

    scan: str
    patterns: list[str]
    positions: np.ndarray
    lung: np.ndarray
    heads: dict[str, HeadAnswer]
    statements: list[str]
    predictor: dict[str, Any]
    notes: list[str]
    images: np.ndarray
    geometry: Geometry  # canonical grid of the scan
    stored: Geometry | None = None  # the grid of a volume file, with its axes as in the file; None for a DICOM series
    lung_masks: np.ndarray | None = None  # bool (m, 224, 224); None: the built-in rule finds the lung
    lung_mask: str | None = None  # SHA-256 of the user's file from which `lung_masks` were taken
    has_size: bool = True  # whether the pixel size is known; for images it is assumed, and areas in cm² are undefined
    training_pixel: tuple[float, float] | None = None  # mm, smallest and largest pixel of the training slices
    pixel_size: float | None = None  # mm, of the common grid; None: slices were not resampled
    contributions: np.ndarray | None = None
    contributions_head: str | None = None
    limited: bool = False
    cnn_maps: np.ndarray | None = None
    cnn_maps_head: str | None = None
    cnn_method: CnnMethod | None = None
    methods: str = ""
    identity: dict[str, str] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and columns of the scan."""
        return self.geometry.shape[1], self.geometry.shape[2]

    @property
    def field(self) -> Field | None:
        """The common grid that the prepared slices show; None if they show the square around a slice of the scan."""
        return None if self.pixel_size is None else Field.of(self.geometry, self.pixel_size)

    @property
    def head(self) -> HeadAnswer:
        """The results of the primary head."""
        return next(iter(self.heads.values()))

    @property
    def stamp(self) -> str:
        """Version, checksum and training data of the predictor, for file headers."""
        found = self.predictor
        return f"ildfv {found['ildfv']}, predictor {found['checksum'][:12]}, {found['data']} data"

    def extent_cm2(self, answer: HeadAnswer) -> list[float] | None:
        """The smallest and largest area of `extent` on the training slices, cm²; None if no area is known for it."""
        if self.training_pixel is None or not isinstance(answer.extent, int) or answer.pooling:
            return None
        return [answer.extent * side**2 / 100 for side in self.training_pixel]

    def to_dict(self) -> dict[str, Any]:
        """The prediction as JSON values; undefined numbers are None."""
        return {
            "kind": KIND,
            "version": VERSION,
            "use": "research use only",
            "scan": self.scan,
            **({} if self.identity is None else {"identity": self.identity}),
            "predictor": self.predictor,
            "primary_head": self.head.name,
            "contributions_head": self.contributions_head,
            "contributions_limited": self.limited,
            "cnn_maps": None if self.cnn_method is None else self.cnn_method.option,
            "cnn_maps_head": self.cnn_maps_head,
            "cam_head": self.cnn_maps_head if self.cnn_method is GRAD_CAM else None,  # for older programs that read it
            "patterns": self.patterns,
            **({} if self.lung_mask is None else {"lung_mask_sha256": self.lung_mask}),
            "notes": self.notes,
            "reliability": self.statements,
            "methods": self.methods,
            "slices": len(self.positions),
            "rows": self.shape[0],
            "columns": self.shape[1],
            "spacing_mm": _numbers(self.geometry.known_spacing) if self.has_size else None,
            "positions_mm": _numbers(self.positions),
            "lung_cm2": _numbers(self.lung) if self.has_size else None,
            "lung_height": _numbers(lung_height(self.positions, self.lung)),
            "heads": {name: self._head_dict(answer) for name, answer in self.heads.items()},
        }

    def _head_dict(self, answer: HeadAnswer) -> dict[str, Any]:
        present = answer.present
        scan: dict[str, dict[str, Any]] = {
            pattern: {
                "present": present[c],
                "slices": int(answer.presence[:, c].sum()),
                "probability": _of(answer.scan_probability, c),
                "no_probability": answer.no_probability[c] if answer.no_probability else None,
                "no_area": answer.no_area[c] if answer.no_area else None,
                "highest_probability": _number(answer.highest_probability(c)),
                "pixels_present_slices": _number(answer.on_present_slices(answer.pixels, c)),
                "area_cm2_present_slices": _number(answer.on_present_slices(answer.area, c)),
                "look_first_at_slice": int(answer.best[c]),
                "look_first_at_slices": answer.first[c] if answer.first else [int(answer.best[c])],
                "zones": answer.zones[c] if answer.zones else None,
                "shares": answer.shares[c] if answer.shares else None,
                "threshold": answer.thresholds[c],
                "slices_by_set": answer.slices_by_set(c),
                "auc": answer.expected_auc(c)[0],
                "auc_interval": answer.expected_auc(c)[1],
                **({"score": _number(answer.scan_scores[c]), "pooling": answer.pooling} if answer.pooling else {}),
            }
            for c, pattern in enumerate(self.patterns)
        }
        for pattern, known in zip(self.patterns, answer.labelled, strict=True):
            scan[pattern] = scan[pattern] if known else dict.fromkeys(scan[pattern])
        per_slice = {name: _numbers(getattr(answer, name)) for name in ("scores", "probability", "pixels", "area")} | {
            "presence": _known(answer.presence.tolist(), answer.labelled),
            "set": None if answer.sets is None else _known(answer.sets, answer.labelled),
        }
        sets = {"level": answer.sets_level, "missing": answer.no_sets or None}
        return {
            "scan": scan,
            "per_slice": per_slice,
            "sets": sets,
            "performance": answer.performance,
            "extent": None if answer.pooling else answer.extent,
            "extent_cm2": self.extent_cm2(answer),
        }

    def to_json(self) -> str:
        """The JSON text of `to_dict`."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def to_csv(self) -> str:
        """A CSV table with one row per slice and head: the measures and the set of each pattern, and the predictor."""
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        measures = ("score", "probability", "present", "pixels", "area_cm2", "set")
        header = ["head", "slice", "position_mm", "lung_cm2"]
        rows.writerow(
            [*header, *(f"{pattern} {measure}" for pattern in self.patterns for measure in measures), "predictor"]
        )
        for name, answer in self.heads.items():
            for z, (position, lung) in enumerate(zip(self.positions, self.lung, strict=True)):
                row: list[Any] = [name, z, f"{position:.3f}", f"{lung:.2f}" if self.has_size else ""]
                for c, known in enumerate(answer.labelled):
                    if not known:
                        row += [""] * len(measures)
                        continue
                    values = (answer.scores, answer.probability, answer.presence, answer.pixels, answer.area)
                    row += [*(_cell(a[z, c]) for a in values), "" if answer.sets is None else answer.sets[z][c]]
                rows.writerow([*row, self.stamp])
        return text.getvalue()

    def _repr_html_(self) -> str:
        from ildfv.inference.page import prediction_page

        return prediction_page(self, standalone=False)


def _known(rows: list[list[Any]], labelled: list[bool]) -> list[list[Any]]:
    """The values (m, C) with None for patterns without labels."""
    return [[value if known else None for value, known in zip(row, labelled, strict=True)] for row in rows]


def _of(values: np.ndarray, c: int) -> float | None:
    return _number(values[c]) if len(values) else None


def _cell(value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return str(int(value))
    return "" if not np.isfinite(value) else f"{float(value):.9g}"


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _numbers(values: np.ndarray) -> list[Any]:
    """The values as nested lists, with None for values that are not finite."""
    if values.ndim > 1:
        return [_numbers(row) for row in values]
    return [_number(value) for value in values]
