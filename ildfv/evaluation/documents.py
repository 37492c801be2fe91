"""The types of the documents that `evaluate`, `compare` and `spread` return.

`Results` are stored as JSON in results/ of a workspace. A `Comparison` or `Spread` is stored as part of an experiment's
document. Undefined values are None (null in JSON), never NaN. The files have the fields in the order of the types.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from ildfv.errors import InputError, check_version
from ildfv.evaluation.thresholds import Decisions
from ildfv.patterns import Threshold, parse_threshold

RESULTS: Final = "ildfv results"
COMPARISON: Final = "ildfv comparison"
Data = Literal["phantom", "user"]
DATA = ("phantom", "user")
SCAN: Final = "scan"

Interval = tuple[float, float]  # lower and upper bound of a 95 % interval


class Document(BaseModel):
    """Base of the types that are stored as JSON. Unknown fields, NaN and infinity are rejected."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    current_version: ClassVar[int | None] = None  # required value of the field "version"; None: no such field
    older: ClassVar[str] = ""  # end of the error message for documents of older versions, see `check_version`

    def to_dict(self) -> dict[str, Any]:
        """The fields that were set, as JSON values in file order."""
        return self.model_dump(exclude_unset=True)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, name: str = "document") -> Self:
        """The validated document. name: the name of the document in errors.

        InputError: the document has another version, or a field violates the schema; the message names the first one.
        """
        found = values.get("version") if isinstance(values, Mapping) else None
        if cls.current_version is not None and isinstance(found, int):
            check_version(found, cls.current_version, name, cls.older)
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or cls.__name__
            raise InputError(f"{name}: {field}: {first['msg']}, got {str(first['input'])[:80]}") from error


def labels_field(pixel_counts: bool) -> dict[str, Any]:
    """The field `pixel_counts` of `Results`: {"pixel_counts": False} for labels that only state the presence.

    It is {} for pixel counts, so that their documents have the same bytes as before the field was added.
    """
    return {} if pixel_counts else {"pixel_counts": False}


def unit_field(unit: str) -> dict[str, Any]:
    """The field `unit` of `Results` and `Comparison`: {"unit": "scan"} for scans.

    It is {} for slices, so that their documents have the same bytes as before the field was added.
    """
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
    least one slice that does not. patients: for each measure that can have an interval, the number of patients that it
    depends on. For recall and F, these show the pattern; for precision, it is predicted for them; for the Brier score,
    its presence is known. For the AUC, it is the smaller of the numbers of patients with and without the pattern
    (`measures.Auc.patients`). precision, recall, f, tp, fp, fn and tn are None if a fold has no decision threshold.
    ap: mean of the folds' average precisions, weighted by their numbers of positives.
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
    """Metrics of the label sets of slices (paper, Eq. 7–10), see `metrics.sample_metrics`."""

    accuracy: float | None
    precision: float | None
    recall: float | None
    f: float | None
    mean_slice_f: float | None


class OverallResults(Document):
    """The results of one system on all patterns together.

    f: harmonic mean of precision and recall, which are means over slices (paper, Eq. 8–10). mean_slice_f: mean over
    slices of the F of each slice. patients: number of patients that each measure depends on; for a mean over slices,
    patients with a slice on which the measure is defined; for f or a mean over patterns, the smallest number of its
    terms. supported_mean_auc: mean AUC of the patterns in `supported`, whose AUC depends on at least five patients;
    absent in older documents. agreeing: the sample metrics if healthy slices that are predicted healthy count as 1.
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
    """How the intervals were computed. method: `intervals.METHOD`. resamples, seed: of the bootstrap over patients."""

    method: str
    level: float
    resamples: int
    seed: int


class Results(Document):
    """The results of one system on the test slices of one fold, or of several folds pooled.

    unit: "scan" if scans are labelled and scored as a whole; stored only then. Every measure is then per scan, and the
    fields named after slices, such as n_slices, refer to scans. pixel_counts: whether labels are pixel counts, to which
    the threshold is applied; False if they only state the presence. fold: None if folds are pooled. folds: the test
    folds. threshold: T, the smallest extent of a present pattern, as a number of pixels or as a percentage of the
    slice's lung pixels, such as "5%". empty: how the sample metrics treat healthy slices that are predicted healthy,
    see `metrics.sample_terms`. n_empty: number of such slices. decisions: the decision thresholds and sigmoids of the
    patterns, by fold number as text. settings: the settings of the system. scores_sha256: checksum of the CSV file of
    scores, if one was written.
    """

    current_version: ClassVar[int | None] = 2
    older: ClassVar[str] = (
        ", which defines the overall F and the intervals differently: delete it and repeat the `ildfv train` or "
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
    measure depends on, the smaller one of the two systems. seeds: number of seeds. seed_sd: standard deviation of the
    difference over the seeds; None for one seed.
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
    older: ClassVar[str] = ", which defines the overall F and the intervals differently: call `compare` again"

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
    """Mean and standard deviation (denominator n − 1) of a measure over the n folds where it is defined.

    mean is None for n = 0, and sd for n < 2.
    """

    mean: float | None
    sd: float | None
    n: int


class Spread(Document):
    """The spread over folds of the measures of one system, except supported_mean_auc."""

    system: str
    folds: list[int | None]
    per_pattern: dict[str, dict[str, FoldSpread]]
    overall: dict[str, FoldSpread]
