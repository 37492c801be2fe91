"""What a report is made of, and the rule by which its example slices are chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ildfv.errors import check
from ildfv.patterns import PATTERNS


@dataclass(frozen=True)
class Call:
    """What one system says of one slice: predicted (C,) of bool and scores (C,) as the system gives them.

    predicted: None for a pattern without a decision threshold, which is never called.
    """

    system: str
    predicted: Sequence[bool | None]
    scores: Sequence[float | None]

    def __post_init__(self) -> None:
        for name in ("predicted", "scores"):
            check(len(getattr(self, name)) == len(PATTERNS), f"{name} must have {len(PATTERNS)} values")


@dataclass(frozen=True)
class Example:
    """One slice to look at.

    image: uint8 (h, w), the slice in the normal window. labels: uint8 (h, w), 0 none, 1 … C = pattern index + 1, or
    None. truth (C,) of bool. caption: what the slice is, as plain text.
    """

    image: np.ndarray
    truth: Sequence[bool]
    calls: Sequence[Call]
    labels: np.ndarray | None = None
    caption: str = ""

    def __post_init__(self) -> None:
        check(self.image.dtype == np.uint8 and self.image.ndim == 2, "image must be uint8 of two dimensions")
        if self.labels is not None:
            shape = self.image.shape
            check(self.labels.shape == shape, f"labels must have the image's shape {shape}, got {self.labels.shape}")
        check(len(self.truth) == len(PATTERNS), f"truth must have {len(PATTERNS)} values, got {len(self.truth)}")

    def right(self, call: Call) -> bool:
        """Whether a system names exactly the patterns that are there."""
        return [bool(t) for t in self.truth] == [bool(p) for p in call.predicted]


@dataclass(frozen=True)
class LabelMap:
    """A slice with the label map that was drawn and the one that a sliding window called.

    image: uint8 (h, w), the slice in the normal window. truth, called: uint8 (h, w), 0 none, 1 … C = pattern index + 1.
    caption: what the slice is, as plain text.
    """

    image: np.ndarray
    truth: np.ndarray
    called: np.ndarray
    caption: str = ""

    def __post_init__(self) -> None:
        check(self.image.dtype == np.uint8 and self.image.ndim == 2, "image must be uint8 of two dimensions")
        for name in ("truth", "called"):
            shape, found = self.image.shape, getattr(self, name).shape
            check(found == shape, f"{name} must have the image's shape {shape}, got {found}")


@dataclass(frozen=True)
class ReportContent:
    """Everything on the page; whatever is empty or None is left out of it.

    data: "phantom" or "user"; phantom reports say so wherever they show a number. statistics: of
    `evaluation.statistics`. folds: rows of `Folds.table()`. results: documents of `evaluation.results.evaluate`, any
    number of systems and folds. comparisons: of `compare`. label_maps_note: how their slices were chosen, and where all
    label maps lie. experiments: documents of `ildfv experiment`, of which title, paper, notes and tables are shown.
    settings: nested mappings of plain values. seconds: time of each step. notes: plain sentences for the reader. made:
    when, as text.
    """

    data: str
    title: str = "Interstitial lung disease patterns on CT slices"
    statistics: Mapping | None = None
    folds: Sequence[Mapping] = ()
    results: Sequence[Mapping] = ()
    comparisons: Sequence[Mapping] = ()
    examples: Sequence[Example] = ()
    label_maps: Sequence[LabelMap] = ()
    label_maps_note: str = ""
    experiments: Sequence[Mapping] = ()
    settings: Mapping = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    notes: Sequence[str] = ()
    made: str = ""

    def __post_init__(self) -> None:
        check(self.data in ("phantom", "user"), f'data must be "phantom" or "user", got {self.data!r}')
        others = sorted({str(r["data"]) for r in self.results} - {self.data})
        check(not others, f"results must be on {self.data} data like the report, got {', '.join(others)}")


RULE = (
    "Drawn at random by the seed, not picked by eye: for each pattern one slice that shows it and is wholly right, "
    "one on which it is missed, and one on which it is called but absent, where there are such slices."
)


def choose_examples(truth: np.ndarray, predicted: np.ndarray, *, seed: int = 0) -> dict[str, list[int]]:
    """{"right": indices, "wrong": indices} by RULE; truth and predicted (N, C). No slice is chosen twice."""
    truth, predicted = np.asarray(truth) > 0, np.asarray(predicted) > 0
    check(truth.shape == predicted.shape, f"predicted must have truth's shape {truth.shape}, got {predicted.shape}")
    rng, taken = np.random.default_rng(seed), set()

    def draw(where: np.ndarray) -> list[int]:
        free = [int(i) for i in np.flatnonzero(where) if int(i) not in taken]
        if not free:
            return []
        taken.add(chosen := free[int(rng.integers(len(free)))])
        return [chosen]

    exact = (truth == predicted).all(1)
    patterns = range(truth.shape[1])
    right = [i for k in patterns for i in draw(exact & truth[:, k])]
    wrong = [i for k in patterns for i in draw(truth[:, k] & ~predicted[:, k]) + draw(~truth[:, k] & predicted[:, k])]
    return {"right": right, "wrong": wrong}
