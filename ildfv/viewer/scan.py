"""One scan in the viewer: its slices, scores, maps and label map, and its description as JSON values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np


class Images(Protocol):
    """Slices in Hounsfield units; row 0 is anterior, column 0 is the patient's right."""

    note: str  # the difference from the HU of the scan in words; "" if the values are equal

    def read(self, z: int) -> np.ndarray:
        """Slice z, counted from the feet, int16 (rows, columns)."""


class LabelMaps(Protocol):
    """Label maps on the pixels of the slices."""

    def read(self, z: int) -> np.ndarray:
        """The label map of slice z, uint8 (rows, columns): 0 none, otherwise the index of the pattern + 1."""


class Maps(Protocol):
    """Signed maps of one pattern, quantised to −127 … 127, on a coarser grid than the slices."""

    kind: str  # a key of `maps.KINDS`
    pattern: int
    unit: str
    title: str

    def describe(self) -> dict[str, Any]:
        """The grid: "rows", "columns", "step" (pixels of the slice per pixel of the map) and "scale" (value at 127)."""

    def read(self, z: int) -> np.ndarray:
        """The map of slice z, int8 (rows, columns)."""


@dataclass(frozen=True)
class System:
    """The scores of one system on the m slices; NaN on slices that it has not scored.

    scores, probability (NaN if unknown): (m, C). thresholds: per pattern, None if undetermined. decided: the stored
    presence of a prediction, as in `presence`; None: a score that reaches its threshold means presence.
    """

    name: str
    scores: np.ndarray
    probability: np.ndarray
    thresholds: Sequence[float | None]
    decided: np.ndarray | None = None

    def presence(self) -> np.ndarray:
        """1 where a pattern is predicted, 0 where it is not, −1 without score or threshold; int8 (m, C)."""
        if self.decided is not None:
            return self.decided
        limits = np.array([np.nan if t is None else t for t in self.thresholds])
        known = np.isfinite(self.scores) & np.isfinite(limits)
        return np.where(known, self.scores >= limits, -1).astype(np.int8)


@dataclass
class ViewedScan:
    """One scan. `images` is None for a prediction whose scan was not given.

    truth: 1, 0 or −1 for unknown, (m, C), or None. source: the file or folder that identifies the scan for
    `prepare --labels`; if it is None, `not_correctable` has the reason.
    """

    name: str
    patterns: Sequence[str]
    positions: np.ndarray  # mm along the slice normal, ascending, (m,)
    shape: tuple[int, int]
    pixel: float  # mm
    images: Images | None = None
    patient: str = ""
    fold: int | None = None
    systems: list[System] = field(default_factory=list)
    maps: list[Maps] = field(default_factory=list)
    labels: LabelMaps | None = None
    truth: np.ndarray | None = None
    statements: Sequence[str] = ()
    notes: Sequence[str] = ()
    phantom: bool = False
    source: Path | None = None
    not_correctable: str = ""

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def distance(self) -> float | None:
        """Mean distance of adjacent slices, mm; None if there is only one slice."""
        span = float(self.positions[-1] - self.positions[0])
        return span / (len(self) - 1) if len(self) > 1 and math.isfinite(span) else None

    def scored(self) -> list[System]:
        """The systems with a score on any slice."""
        return [system for system in self.systems if np.isfinite(system.scores).any()]

    def summary(self) -> dict[str, Any]:
        """The data for the list of scans: names, fold, and per slice and pattern the truth and the predictions."""
        return {
            "name": self.name,
            "patient": self.patient,
            "fold": self.fold,
            "slices": len(self),
            "phantom": self.phantom,
            "truth": None if self.truth is None else packed(self.truth),
            "predicted": {system.name: packed(system.presence()) for system in self.scored()},
        }

    def document(self) -> dict[str, Any]:
        """All data of the scan except pixels."""
        return {
            "name": self.name,
            "patient": self.patient,
            "fold": self.fold,
            "patterns": list(self.patterns),
            "slices": len(self),
            "positions": numbers(self.positions.astype(float)),
            "rows": self.shape[0],
            "columns": self.shape[1],
            "pixel": self.pixel,
            "distance": self.distance,
            "images": self.images is not None,
            "hu_note": self.images.note if self.images is not None else "",
            "phantom": self.phantom,
            "systems": [
                {
                    "name": system.name,
                    "scores": numbers(system.scores),
                    "probability": numbers(system.probability),
                    "thresholds": list(system.thresholds),
                    "presence": system.presence().tolist(),
                }
                for system in self.systems
            ],
            "truth": None if self.truth is None else self.truth.tolist(),
            "maps": [{"kind": m.kind, "pattern": m.pattern, "unit": m.unit, "title": m.title} for m in self.maps],
            "labels": self.labels is not None,
            "statements": list(self.statements),
            "notes": list(self.notes),
            "correctable": self.source is not None,
            "not_correctable": self.not_correctable,
        }


def packed(presence: np.ndarray) -> str:
    """Presence (m, C) as one character per value, row by row: 1, 0, or - for unknown."""
    return "".join("-01"[value + 1] for value in presence.ravel().tolist())


def numbers(values: np.ndarray) -> list:
    """Nested lists with None for values that are not finite."""
    if values.ndim > 1:
        return [numbers(row) for row in values]
    return [float(f"{value:.7g}") if np.isfinite(value) else None for value in values.tolist()]
