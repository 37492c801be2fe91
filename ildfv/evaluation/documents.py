"""The types of the result documents that `evaluate`, `compare` and `spread` return. They are stored as JSON.

Undefined values are None (null in JSON), never NaN. The files have the fields in the order of the types.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from ildfv.errors import InputError
from ildfv.evaluation.thresholds import Decisions
from ildfv.patterns import Threshold, parse_threshold

RESULTS: Final = "ildfv results"
COMPARISON: Final = "ildfv comparison"
Data = Literal["phantom", "user"]
DATA = ("phantom", "user")
SCAN: Final = "scan"

Interval = tuple[float, float]  # lower and upper bound of a 95 % interval


class Document(BaseModel):
    """Base of the types that are stored as JSON. Unknown fields and NaN are rejected."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    current_version: ClassVar[int | None] = None  # required value of the field "version"; None: no such field
    older: ClassVar[str] = ""  # how documents of older versions differ, and the remedy; end of an error message

    def to_dict(self) -> dict[str, Any]:
        """The fields that were set, as JSON values in file order."""
        return self.model_dump(exclude_unset=True)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, name: str = "document") -> Self:
        """The validated document. name: the name of the document in errors.

        InputError names the first field that violates the schema.
        """
        found = values.get("version") if isinstance(values, Mapping) else None
        if cls.current_version is not None and found != cls.current_version and isinstance(found, int):
            raise InputError(f"{name} must have version {cls.current_version}, got {found}: {cls.older}")
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or cls.__name__
            raise InputError(f"{name}: {field}: {first['msg']}, got {str(first['input'])[:80]}") from error


def labels_field(pixel_counts: bool) -> dict[str, Any]:
    """{"pixel_counts": False} for labels of presence; {} for pixel counts, as in earlier versions."""
    return {} if pixel_counts else {"pixel_counts": False}


def unit_field(unit: str) -> dict[str, Any]:
    """{"unit": unit} for scans; {} for slices, whose documents have no such field, as in earlier versions."""
    return {"unit": unit} if unit == SCAN else {}


class RocCurve(Document):
    """False and true positive rates from (0, 0) to (1, 1)."""

    fpr: list[float]
    tpr: list[float]


class PrCurve(Document):
    """Recalls, ascending from 0, and the precision at each recall."""

    recall: list[float]
    precision: list[float]


class CalibrationCurve(Document):
    """The mean predicted probability, the observed frequency and the number of slices of each non-empty bin."""

    predicted: list[float]
    observed: list[float]
    n: list[int]


class PatternResults(Document):
    """The results of one system on one pattern. Some documents are stored without curves.

    positive_patients, negative_patients: number of patients with at least one slice that shows the pattern, and with at
    least one slice that does not. patients: for each measure that can have an interval, the number of patients it
    depends on; with too few patients the interval is None. ap: mean of the folds' average precisions, weighted by
    their numbers of positives.
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
    threshold: float | None  # the decision threshold; None if there is none or if several folds are pooled
    ap: float | None
    roc: RocCurve | None = None
    pr: PrCurve | None = None
    calibration: CalibrationCurve | None = None

    def estimate(self, measure: str) -> tuple[float | None, Interval | None]:
        """The value of a measure and its 95 % interval, which is None for measures without an interval."""
        return getattr(self, measure), getattr(self, f"{measure}_interval", None)


class SampleMetrics(Document):
    """Metrics of the label sets of slices (paper, Eq. 7–10). mean_slice_f: mean over slices of the F of each slice."""

    accuracy: float | None
    precision: float | None
    recall: float | None
    f: float | None
    mean_slice_f: float | None


class OverallResults(Document):
    """The results of one system on all patterns together.

    f: harmonic mean of precision and recall, which are means over slices (paper, Eq. 8–10). mean_slice_f: mean over
    slices of the F of each slice. patients: number of patients that each measure depends on; for a mean over patterns,
    the smallest number of any pattern. supported_mean_auc: mean AUC of the patterns in `supported`, whose AUC depends
    on at least five patients; absent in older documents. agreeing: the sample metrics if healthy slices that are
    predicted healthy count as 1.
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
    supported_mean_auc: float | None = None
    supported_mean_auc_interval: Interval | None = None
    supported: list[str] = []
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
    """The results of one system on the test slices of one fold, or of several folds pooled.

    unit: "scan" if scans are labelled and scored as a whole. Every measure is then per scan: where the documents have
    "slices", as in n_slices, they count scans. Documents of slices do not have the field.
    pixel_counts: whether labels are pixel counts. T, the threshold, is not applied to labels of presence.
    fold: None if folds are pooled. threshold: minimum number of pixels of a present pattern. empty: how the
    sample metrics treat healthy slices that are predicted healthy, see `metrics.sample_terms`. n_empty: number of such
    slices. decisions: by fold number. scores_sha256: checksum of the CSV file of scores, if one was written.
    """

    current_version: ClassVar[int | None] = 2
    older: ClassVar[str] = (
        "its overall F and its intervals are defined differently; delete it and repeat the `ildfv train` or "
        "`ildfv regress` command that wrote it"
    )

    kind: Literal["ildfv results"]
    version: Literal[2]
    system: str
    fold: int | None
    folds: list[int]
    data: Data
    threshold: Threshold
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
    unit: Literal["slice", "scan"] = "slice"
    pixel_counts: bool = True

    _threshold = field_validator("threshold", mode="before")(parse_threshold)

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the patterns, in the order of the document."""
        return tuple(self.per_pattern)

    def without_curves(self) -> Results:
        """A copy of the document without ROC, precision–recall and calibration curves."""
        excluded = {"per_pattern": {"__all__": {"roc", "pr", "calibration"}}}
        return Results(**self.model_dump(exclude_unset=True, exclude=excluded))


class PairedTest(Document):
    """Difference a − b of one measure, with its 95 % interval and p value.

    p: from a permutation test or, for a mean over several seeds, from a t test. patients: number of patients that the
    measure depends on. seeds: number of seeds. seed_sd: standard deviation of the difference over the seeds; None for
    one seed.
    """

    difference: float | None
    interval: Interval | None
    p: float | None
    patients: int
    seeds: int = 1
    seed_sd: float | None = None


class Comparison(Document):
    """Tests of systems a and b, paired by patient.

    tests: by measure, such as "f", "mean_auc" and "ground glass/auc". seeds: number of seeds that both systems were
    fitted with. With one seed, the intervals and p values cover only the variation between patients, not the variation
    between fits.
    """

    current_version: ClassVar[int | None] = 2
    older: ClassVar[str] = "its overall F and its intervals are defined differently; compute it again"

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
    unit: Literal["slice", "scan"] = "slice"  # as in `Results`


class FoldSpread(Document):
    """Mean and standard deviation (denominator n − 1) of a measure over the n folds where it is defined."""

    mean: float | None
    sd: float | None
    n: int


class Spread(Document):
    """The spread over folds of every measure of one system."""

    system: str
    folds: list[int | None]
    per_pattern: dict[str, dict[str, FoldSpread]]
    overall: dict[str, FoldSpread]
