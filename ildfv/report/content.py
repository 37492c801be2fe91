"""The content of a report, and the rule that selects its example slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from markupsafe import Markup

from ildfv.errors import check
from ildfv.evaluation.documents import DATA, Comparison, Results
from ildfv.evaluation.tables import Table
from ildfv.patterns import PATTERNS
from ildfv.report.chart import Chart


@dataclass(frozen=True)
class Prediction:
    """The prediction of one system on one slice.

    predicted (C,): whether each pattern is predicted; None for a pattern without a decision threshold. scores (C,):
    None for a pattern without a score. The scores of different systems are on different scales.
    """

    system: str
    predicted: Sequence[bool | None]
    scores: Sequence[float | None]

    def __post_init__(self) -> None:
        for name in ("predicted", "scores"):
            n = len(getattr(self, name))
            check(n == len(PATTERNS), f"{name} must have {len(PATTERNS)} values, one per pattern, got {n}")


@dataclass(frozen=True)
class Example:
    """One example slice.

    image: uint8 (h, w), the slice in the normal window. truth: bool (C,), the patterns that are present. labels: uint8
    (h, w), the label map (0: no pattern, otherwise pattern index + 1), or None. caption: plain text. place:
    "<series>/<slice number>", with which the viewer finds the slice, or "".
    """

    image: np.ndarray
    truth: Sequence[bool]
    predictions: Sequence[Prediction]
    labels: np.ndarray | None = None
    caption: str = ""
    place: str = ""

    def __post_init__(self) -> None:
        check(self.image.dtype == np.uint8 and self.image.ndim == 2, "image must be uint8 with two dimensions")
        if self.labels is not None:
            shape = self.image.shape
            check(self.labels.shape == shape, f"labels must have the image's shape {shape}, got {self.labels.shape}")
        check(
            len(self.truth) == len(PATTERNS),
            f"truth must have {len(PATTERNS)} values, one per pattern, got {len(self.truth)}",
        )

    def is_right(self, prediction: Prediction) -> bool:
        """Whether the prediction has exactly the patterns that are present."""
        return [bool(t) for t in self.truth] == [bool(p) for p in prediction.predicted]


@dataclass(frozen=True)
class LabelMap:
    """A slice with its reference label map and the label map predicted with a sliding window.

    image: uint8 (h, w), the slice in the normal window. truth, predicted: uint8 (h, w), the two label maps (0: no
    pattern, otherwise pattern index + 1). caption: plain text.
    """

    image: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray
    caption: str = ""

    def __post_init__(self) -> None:
        check(self.image.dtype == np.uint8 and self.image.ndim == 2, "image must be uint8 with two dimensions")
        for name in ("truth", "predicted"):
            shape, found = self.image.shape, getattr(self, name).shape
            check(found == shape, f"{name} must have the image's shape {shape}, got {found}")


@dataclass(frozen=True)
class Panel:
    """One part of a figure. svg: the complete <svg> element."""

    title: str
    svg: Markup


@dataclass(frozen=True)
class Figure:
    """Panels in rows of `columns`, or several named sets of panels. The page shows one set at a time.

    variants: by name, a set of panels; given instead of `panels`. legend: names of the series in all panels. labelled:
    whether the panels use the colours of the patterns. of_data: whether the figure shows data; if so, it is marked when
    the data are phantoms.
    """

    title: str
    panels: Sequence[Panel] = ()
    variants: Mapping[str, Sequence[Panel]] = field(default_factory=dict)
    columns: int = 2
    note: str = ""
    legend: Sequence[str] = ()
    labelled: bool = False
    of_data: bool = True


class TableDocument(Protocol):
    """A document whose tables and charts are shown under their own heading. folds: the held-out folds."""

    @property
    def title(self) -> str: ...

    @property
    def subtitle(self) -> str: ...

    @property
    def folds(self) -> Sequence[int]: ...

    @property
    def tables(self) -> Sequence[Table]: ...

    @property
    def charts(self) -> Sequence[Chart]: ...

    @property
    def notes(self) -> Sequence[str]: ...


@dataclass(frozen=True)
class ReportContent:
    """Everything that a report shows. Sections without content are omitted.

    data: "phantom" or "user"; in a report on phantoms, every table and chart is labelled. statistics: result of
    `evaluation.statistics.statistics`, with "pixel_counts": False if the labels only state the presence. folds: rows of
    `Folds.table()`. results: of any number of systems and folds. examples_rule: how `examples` were selected; "" if by
    RULE. figures: shown below the experiments. label_maps_note: how the slices of `label_maps` were selected, and where
    the label maps of all slices are stored. settings: nested mappings of plain values. system_settings: by system and
    fold, the settings of each result, as nested mappings. seconds: wall time of each step. notes: sentences. made: date
    and time as text. unit: "scan" if scans are labelled as a whole, otherwise "slice".
    """

    data: str
    title: str = "Interstitial lung disease patterns on CT slices"
    statistics: Mapping | None = None
    folds: Sequence[Mapping] = ()
    results: Sequence[Results] = ()
    comparisons: Sequence[Comparison] = ()
    examples: Sequence[Example] = ()
    examples_rule: str = ""
    figures: Sequence[Figure] = ()
    label_maps: Sequence[LabelMap] = ()
    label_maps_note: str = ""
    experiments: Sequence[TableDocument] = ()
    settings: Mapping = field(default_factory=dict)
    system_settings: Mapping[str, Mapping[int, Mapping]] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    notes: Sequence[str] = ()
    made: str = ""
    unit: str = "slice"

    def __post_init__(self) -> None:
        check(self.data in DATA, f'data must be "phantom" or "user", got {self.data!r}')
        others = sorted({results.data for results in self.results} - {self.data})
        check(not others, f"results must be from {self.data} data, like the report, got {', '.join(others)}")


RULE = (
    "Selected at random with a fixed seed: for each pattern, one slice that shows it and is predicted correctly, one "
    "with a false negative and one with a false positive, if they exist."
)


def choose_examples(truth: np.ndarray, predicted: np.ndarray, *, seed: int = 0) -> dict[str, list[int]]:
    """{"right": indices, "wrong": indices} of slices selected by RULE, each at most once.

    truth, predicted: 0/1 or bool, (N, C). InputError: their shapes differ.
    """
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
