"""The result documents as types, which `evaluate`, `compare` and `spread` return and which are stored as JSON.

Undefined values are None (null in JSON), never NaN. Field order is the order in the files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from ildfv.errors import InputError
from ildfv.evaluation.thresholds import Decisions

RESULTS: Final = "ildfv results"
COMPARISON: Final = "ildfv comparison"
Data = Literal["phantom", "user"]
DATA = ("phantom", "user")

Interval = tuple[float, float]  # 95 %: (low, high)


class Document(BaseModel):
    """A value that is stored as JSON; unknown fields and NaN are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    current_version: ClassVar[int | None] = None  # of documents with a field "version"
    older: ClassVar[str] = ""  # how a document of an older version differs, and the remedy

    def to_dict(self) -> dict[str, Any]:
        """The fields that were given, as JSON-able values in file order."""
        return self.model_dump(exclude_unset=True)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, name: str = "document") -> Self:
        """The validated document. InputError names the first field that violates the schema. name: for the error."""
        found = values.get("version") if isinstance(values, Mapping) else None
        if cls.current_version is not None and found != cls.current_version and isinstance(found, int):
            raise InputError(f"{name} must be of version {cls.current_version}, got {found}: {cls.older}")
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or cls.__name__
            raise InputError(f"{name}: {field}: {first['msg']}, got {str(first['input'])[:80]}") from error


class RocCurve(Document):
    """False and true positive rates from (0, 0) to (1, 1)."""

    fpr: list[float]
    tpr: list[float]


class PrCurve(Document):
    """Recall from 0, and the precision at each."""

    recall: list[float]
    precision: list[float]


class CalibrationCurve(Document):
    """Mean predicted probability, observed frequency and number of slices of each non-empty bin."""

    predicted: list[float]
    observed: list[float]
    n: list[int]


class PatternResults(Document):
    """One system on one pattern. Curves are absent from documents that do not store them.

    positive_patients, negative_patients: patients with at least one slice that shows the pattern, or does not.
    patients: number of patients that each measure with an interval depends on, which decides whether it has one. ap:
    mean over folds of the average precision, weighted by their positives.
    """

    prevalence: float | None  # None if the presence is unknown on all slices
    positives: int
    positive_patients: int
    negative_patients: int
    auc: float | None
    auc_interval: Interval | None
    precision: float | None
    precision_interval: Interval | None
    recall: float | None
    recall_interval: Interval | None
    f: float | None
    f_interval: Interval | None
    brier: float | None
    brier_interval: Interval | None
    tp: int | None
    fp: int | None
    fn: int | None
    tn: int | None
    patients: dict[str, int]
    threshold: float | None  # decision threshold; None if several folds are pooled
    ap: float | None
    roc: RocCurve | None = None
    pr: PrCurve | None = None
    calibration: CalibrationCurve | None = None

    def estimate(self, measure: str) -> tuple[float | None, Interval | None]:
        """The value of a measure and its 95 % interval; measures without an interval have None."""
        return getattr(self, measure), getattr(self, f"{measure}_interval", None)


class SampleMetrics(Document):
    """Metrics of the slices' label sets (paper, Eq. 7–10); mean_slice_f is the mean of the slices' own F."""

    accuracy: float | None
    precision: float | None
    recall: float | None
    f: float | None
    mean_slice_f: float | None


class OverallResults(Document):
    """One system on all patterns.

    f: harmonic mean of precision and recall, which are means over slices (paper, Eq. 8–10). mean_slice_f: mean of the
    slices' own F. patients: number of patients that each measure depends on, for a mean the smallest of its patterns'.
    agreeing: sample metrics if a healthy slice predicted healthy counts as 1.
    """

    accuracy: float | None
    accuracy_interval: Interval | None
    precision: float | None
    precision_interval: Interval | None
    recall: float | None
    recall_interval: Interval | None
    f: float | None
    f_interval: Interval | None
    mean_slice_f: float | None
    mean_slice_f_interval: Interval | None
    micro_f: float | None
    micro_f_interval: Interval | None
    macro_f: float | None
    macro_f_interval: Interval | None
    mean_auc: float | None
    mean_auc_interval: Interval | None
    patients: dict[str, int]
    agreeing: SampleMetrics

    def estimate(self, measure: str) -> tuple[float | None, Interval | None]:
        """The value of a measure and its 95 % interval."""
        return getattr(self, measure), getattr(self, f"{measure}_interval")


class IntervalSettings(Document):
    """How the intervals were computed."""

    method: str
    level: float
    resamples: int
    seed: int


class Results(Document):
    """One system on the test slices of one fold, or of several folds pooled.

    fold: None if pooled. threshold: pixels from which a pattern counts as present. empty: how sample metrics treat
    healthy slices predicted healthy; n_empty: their number. decisions: by fold number. scores_sha256: checksum of the
    CSV file of scores, for documents that have one.
    """

    current_version: ClassVar[int | None] = 2
    older: ClassVar[str] = (
        "it has another overall F and other intervals; remove it and run the `ildfv train` or `ildfv regress` that "
        "wrote it again"
    )

    kind: Literal["ildfv results"]
    version: Literal[2]
    system: str
    fold: int | None
    folds: list[int]
    data: Data
    threshold: int
    n_slices: int
    n_patients: int
    intervals: IntervalSettings
    empty: str
    n_empty: int
    per_pattern: dict[str, PatternResults]
    overall: OverallResults
    decisions: dict[str, Decisions]
    settings: dict[str, Any]
    scores_sha256: str | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """The patterns, in order."""
        return tuple(self.per_pattern)

    def without_curves(self) -> Results:
        """The same document without ROC, precision–recall and calibration curves."""
        excluded = {"per_pattern": {"__all__": {"roc", "pr", "calibration"}}}
        return Results(**self.model_dump(exclude_unset=True, exclude=excluded))


class PairedTest(Document):
    """Difference a − b of one measure, its 95 % interval and p value; patients: number that the measure depends on.

    p: of a permutation test or, for a mean over several seeds, of a t test. seeds: number of seeds, if more than one;
    seed_sd: standard deviation of the difference over them.
    """

    difference: float | None
    interval: Interval | None
    p: float | None
    patients: int
    seeds: int = 1
    seed_sd: float | None = None


class Comparison(Document):
    """Paired tests by patient between systems a and b. tests: by measure, "f", "mean_auc", "ground glass/auc", …

    seeds: number of seeds that both systems were fitted with. With one, intervals and p values cover the variation
    between patients only, not that between fits.
    """

    current_version: ClassVar[int | None] = 2
    older: ClassVar[str] = "it has another overall F and other intervals; compute it again"

    kind: Literal["ildfv comparison"]
    version: Literal[2]
    a: str
    b: str
    n_slices: int
    n_patients: int
    seeds: int
    resamples: int
    seed: int
    tests: dict[str, PairedTest]


class FoldSpread(Document):
    """Mean and standard deviation (n − 1) of a measure over the n folds that define it."""

    mean: float | None
    sd: float | None
    n: int


class Spread(Document):
    """The spread over folds of every measure of one system."""

    system: str
    folds: list[int | None]
    per_pattern: dict[str, dict[str, FoldSpread]]
    overall: dict[str, FoldSpread]
