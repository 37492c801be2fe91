"""From the predictions of systems to their results, comparisons and spread over folds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np

from ildfv.errors import check
from ildfv.evaluation import metrics
from ildfv.evaluation.documents import (
    COMPARISON,
    DATA,
    RESULTS,
    CalibrationCurve,
    Comparison,
    Data,
    FoldSpread,
    IntervalSettings,
    OverallResults,
    PatternResults,
    PrCurve,
    Results,
    RocCurve,
    SampleMetrics,
    Spread,
)
from ildfv.evaluation.intervals import (
    RESAMPLES,
    Auc,
    Mean,
    Measure,
    Ratio,
    bootstrap,
    by_patient,
    paired,
    percentiles,
    resampled,
)
from ildfv.evaluation.thresholds import Decisions

MEANS = {"macro_f": "f", "mean_auc": "auc"}  # over the patterns that define the metric
OVERALL = (*metrics.SAMPLE_METRICS, "micro_f", "macro_f", "mean_auc")
PER_PATTERN = ("auc", "ap", "precision", "recall", "f", "brier")
CURVE_POINTS = 200  # of a stored curve; metrics always use every score

Curve = TypeVar("Curve", RocCurve, PrCurve)


@dataclass(frozen=True)
class Predictions:
    """The predictions of one system on the test slices of one fold, with their reference.

    system: "cnn", "fv-conv1", … scores (N, C): real, larger = more likely present. presence (N, C): reference, 0, 1
    or −1 (unknown): such entries count for no measure of that pattern, and such slices for no label set.
    patients (N,): patient of each slice. decisions: fitted on validation slices of the same fold. labels: names of the
    C patterns.
    """

    system: str
    fold: int
    scores: np.ndarray
    presence: np.ndarray
    patients: Sequence[str]
    decisions: Decisions
    labels: Sequence[str]

    def __post_init__(self) -> None:
        shape = (len(self.patients), len(self.labels))
        for name in ("scores", "presence"):
            check(
                np.shape(getattr(self, name)) == shape,
                f"{name} must have shape {shape}, got {np.shape(getattr(self, name))}",
            )
        check(shape[0] > 0, "predictions must hold at least one slice, got none")
        check(bool(np.isin(self.presence, (-1, 0, 1)).all()), "presence must be 0, 1 or −1 (unknown)")
        known = (np.asarray(self.presence) >= 0).any(axis=1)
        check(bool(known.all()), f"every slice must have a label, got {int((~known).sum())} without: leave them out")
        check(bool(np.isfinite(self.scores).all()), f"scores of {self.system} must be finite, got NaN or infinity")


def evaluate(
    predictions: Predictions | Sequence[Predictions],
    *,
    data: str,
    threshold: int,
    n_resamples: int = RESAMPLES,
    seed: int = 0,
    settings: dict | None = None,
) -> Results:
    """The results of one system on one fold or, given the predictions of several folds, on all of them pooled.

    If folds are pooled, the decisions are those of each fold. As models of different folds have no common scale, the
    AUC counts only pairs of slices within a fold, and AP and curves use percentile ranks within each fold.

    Parameters
    ----------
    predictions : Predictions or sequence of Predictions
        One system, on one or several folds.
    data : {"phantom", "user"}
        Kind of the slices.
    threshold : int
        Pixels from which a pattern counts as present in `Predictions.presence`.
    n_resamples : int
        Bootstrap resamples of patients for the intervals.
    seed : int
        Seed of the resampling.
    settings : dict, optional
        JSON-able settings of the system, stored in the document.

    Returns
    -------
    Results
        Undefined values are None: an AUC without positives or without negatives; an F without positives, as such
        slices do not show whether a system finds the pattern; an interval over one patient, or of a measure that fewer
        than 90 % of the resamples define. macro_f and mean_auc are over the patterns that define them.

    Raises
    ------
    InputError
        No predictions, or predictions of several systems, of different labels, of a fold twice, or of a patient in two
        folds.
    """
    folds = _folds(predictions)
    check(data in DATA, f'data must be "phantom" or "user", got {data!r}')
    truth, scores, predicted, probability, _, names, _ = _pooled(folds)
    one = len(folds) == 1
    known = _known(folds)
    weights = resampled(len(names), n_resamples, seed=seed)
    measures = _measures(folds)
    everyone = np.ones((1, len(names)))

    def estimates(keys: dict[str, str]) -> dict[str, Any]:
        """Fields of a document by name: the value and the interval of each measure; keys: name → measure."""
        fields: dict[str, Any] = {}
        for name, key in keys.items():
            fields[name] = _number(measures[key](everyone)[0])
            fields[f"{name}_interval"] = bootstrap(measures[key], weights)
        return fields

    per_pattern = {}
    for k, pattern in enumerate(folds[0].labels):
        here = known[:, k]
        y, p = truth[here, k], probability[here, k]
        decided = all(f.decisions.thresholds[k] is not None for f in folds)
        counts: dict[str, Any] = {
            name: int(n) if decided else None for name, n in metrics.confusion(y, predicted[here, k]).items()
        }
        calibrated = len(p) > 0 and bool(np.isfinite(p).all())
        per_pattern[pattern] = PatternResults(
            prevalence=float(y.mean()) if len(y) else None,
            positives=int(y.sum()),
            **estimates({name: f"{pattern}/{name}" for name in ("auc", "precision", "recall", "f", "brier")}),
            **counts,
            threshold=folds[0].decisions.thresholds[k] if one else None,
            ap=_number(metrics.average_precision(y, scores[here, k])),
            roc=_curve(RocCurve, metrics.roc_curve(y, scores[here, k])),
            pr=_curve(PrCurve, metrics.pr_curve(y, scores[here, k])),
            calibration=CalibrationCurve(**metrics.calibration_curve(y, p)) if calibrated else None,
        )

    complete = known.all(axis=1)
    agreeing = metrics.sample_metrics(truth[complete], predicted[complete], empty="agree")
    return Results(
        kind=RESULTS,
        version=1,
        system=folds[0].system,
        fold=folds[0].fold if one else None,
        folds=[f.fold for f in folds],
        data=cast(Data, data),
        threshold=threshold,
        n_slices=len(truth),
        n_patients=len(names),
        intervals=IntervalSettings(
            method="patient bootstrap, percentile", level=0.95, resamples=n_resamples, seed=seed
        ),
        empty="skip",
        n_empty=int((complete & (truth.sum(1) == 0) & (predicted.sum(1) == 0)).sum()),
        per_pattern=per_pattern,
        overall=OverallResults(
            **estimates({name: name for name in OVERALL}),
            agreeing=SampleMetrics(**{name: _number(value) for name, value in agreeing.items()}),
        ),
        decisions={str(f.fold): f.decisions for f in folds},
        settings=dict(settings or {}),
    )


def undecided(document: Results) -> list[str]:
    """A line for each pattern that has no decision threshold in some fold."""
    lines = []
    for k, pattern in enumerate(document.labels):
        folds = [fold for fold, found in document.decisions.items() if found.thresholds[k] is None]
        if folds:
            where = f"fold{'s' * (len(folds) > 1)} {', '.join(folds)}"
            lines.append(
                f"no validation slice of {where} shows {pattern} at T = {document.threshold}, so it has no decision "
                "threshold: it is never predicted there and counts as a false negative in label sets and micro F"
            )
    return lines


def compare(
    a: Predictions | Sequence[Predictions],
    b: Predictions | Sequence[Predictions],
    *,
    n_resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Paired tests by patient between two systems on the same slices.

    Means are over the patterns that both systems define. p values are not corrected for the number of tests.
    InputError: the systems were not scored on the same slices in the same order.
    """
    first, second = _folds(a), _folds(b)
    x, y = _pooled(first), _pooled(second)
    same = len(x[0]) == len(y[0]) and (x[0] == y[0]).all() and (x[4] == y[4]).all() and (x[5] == y[5]).all()
    same = same and list(first[0].labels) == list(second[0].labels)
    check(bool(same), f"{first[0].system} and {second[0].system} must be scored on the same slices in the same order")
    ours, theirs, n = _measures(first), _measures(second), len(x[5])
    for mean, name in MEANS.items():
        common = _defined(name, n, first[0].labels, ours, theirs)
        for measures in (ours, theirs):
            measures[mean] = Mean(tuple(measures[f"{p}/{name}"] for p in common))
    tests = {
        name: paired(measure, theirs[name], n, n_resamples=n_resamples, seed=seed)
        for name, measure in ours.items()
        if name in ("accuracy", "f", "micro_f", "macro_f", "mean_auc") or name.endswith(("/auc", "/f"))
    }
    return Comparison(
        kind=COMPARISON,
        a=first[0].system,
        b=second[0].system,
        n_slices=len(x[0]),
        n_patients=n,
        resamples=n_resamples,
        seed=seed,
        tests=tests,
    )


def spread(documents: Sequence[Results]) -> Spread:
    """Mean and standard deviation over folds of every measure in `evaluate` documents of one system.

    Folds on which a measure is undefined do not count in its n. The standard deviation has n − 1 in its denominator and
    is None for n < 2.
    """
    check(len(documents) > 0, "documents must hold at least one fold, got none")
    systems = sorted({d.system for d in documents})
    check(len(systems) == 1, f"documents must be of one system, got {systems}")

    def over(values: list[float | None]) -> FoldSpread:
        defined = [v for v in values if v is not None]
        return FoldSpread(
            mean=float(np.mean(defined)) if defined else None,
            sd=float(np.std(defined, ddof=1)) if len(defined) > 1 else None,
            n=len(defined),
        )

    return Spread(
        system=systems[0],
        folds=[d.fold for d in documents],
        per_pattern={
            pattern: {name: over([getattr(d.per_pattern[pattern], name) for d in documents]) for name in PER_PATTERN}
            for pattern in documents[0].labels
        },
        overall={name: over([getattr(d.overall, name) for d in documents]) for name in OVERALL},
    )


def _measures(folds: list[Predictions]) -> dict[str, Measure]:
    """Every measure of the results as a function of patient weights, by name."""
    truth, scores, predicted, probability, patient, names, fold = _pooled(folds)
    n, known = len(names), _known(folds)

    def summed(values: np.ndarray) -> np.ndarray:
        return by_patient(values, patient, n)

    nowhere = Ratio(np.zeros(n), np.zeros(n))  # undefined for all weights
    measures: dict[str, Measure] = {}
    hits, calls, cases = np.zeros(n), np.zeros(n), np.zeros(n)
    labels = folds[0].labels
    for k, pattern in enumerate(labels):
        here = known[:, k]
        y, t = truth[:, k], predicted[:, k] & here
        tp, n_t, n_s = summed(y & t), summed(t), summed(y)
        hits, calls, cases = hits + tp, calls + n_t, cases + n_s
        decided = all(f.decisions.thresholds[k] is not None for f in folds)
        measures[f"{pattern}/precision"] = Ratio(tp, n_t) if decided else nowhere
        measures[f"{pattern}/recall"] = Ratio(tp, n_s) if decided else nowhere
        measures[f"{pattern}/f"] = Ratio(2 * tp, n_t + n_s, needed=n_s) if decided else nowhere
        error = (probability[:, k] - y) ** 2
        measures[f"{pattern}/brier"] = (
            Ratio(summed(error * here), summed(here)) if np.isfinite(error).all() else nowhere
        )
        measures[f"{pattern}/auc"] = Auc.of(scores[here, k], y[here], patient[here], n, fold)
    sets = metrics.sample_terms(truth, predicted)
    sets[~known.all(axis=1)] = np.nan
    for name, terms in zip(metrics.SAMPLE_METRICS, sets.T, strict=True):
        measures[name] = Ratio(summed(terms), summed(np.isfinite(terms)))
    measures["micro_f"] = Ratio(2 * hits, calls + cases)
    for mean, name in MEANS.items():
        measures[mean] = Mean(tuple(measures[f"{p}/{name}"] for p in _defined(name, n, labels, measures)))
    return measures


def _defined(name: str, n_patients: int, labels: Sequence[str], *systems: dict[str, Measure]) -> list[str]:
    """The patterns for which every system defines this measure."""
    one = np.ones((1, n_patients))
    return [p for p in labels if all(np.isfinite(measures[f"{p}/{name}"](one)[0]) for measures in systems)]


def _folds(predictions: Predictions | Sequence[Predictions]) -> list[Predictions]:
    folds = [predictions] if isinstance(predictions, Predictions) else sorted(predictions, key=lambda f: f.fold)
    check(len(folds) > 0, "predictions must hold at least one fold, got none")
    systems = sorted({f.system for f in folds})
    check(len(systems) == 1, f"predictions must be of one system, got {systems}")
    labels = {tuple(f.labels) for f in folds}
    check(len(labels) == 1, f"predictions must be of the same labels, got {sorted(labels)}")
    numbers = [f.fold for f in folds]
    check(len(set(numbers)) == len(numbers), f"folds must be distinct, got {numbers}")
    seen: dict[str, int] = {}
    for f in folds:
        for patient in sorted(set(map(str, f.patients))):
            check(
                patient not in seen,
                f"a patient must be tested in one fold only, got {patient} in {seen.get(patient)} and {f.fold}",
            )
            seen[patient] = f.fold
    return folds


def _pooled(folds: list[Predictions]) -> tuple[np.ndarray, ...]:
    """truth, scores, predicted, probability, each (N, C); patient number (N,); names and folds of patients (P,).

    If there are several folds, scores are percentile ranks within each.
    """
    truth = np.concatenate([np.asarray(f.presence) > 0 for f in folds])
    predicted = np.concatenate([f.decisions.predict(f.scores) for f in folds])
    probability = np.concatenate([f.decisions.probability(f.scores) for f in folds])
    scores = np.concatenate([np.asarray(f.scores, dtype=float) for f in folds])
    of_slice = np.concatenate([np.full(len(f.scores), f.fold) for f in folds])
    if len(folds) > 1:
        scores = np.stack([percentiles(column, of_slice) for column in scores.T], axis=1)
    owners = np.concatenate([np.asarray(f.patients, dtype=str) for f in folds])
    names, first, patient = np.unique(owners, return_index=True, return_inverse=True)
    return truth, scores, predicted, probability, patient, names, of_slice[first]


def _known(folds: list[Predictions]) -> np.ndarray:
    """Whether the presence of each pattern is known, (N, C)."""
    return np.concatenate([np.asarray(f.presence) >= 0 for f in folds])


def _number(value: float) -> float | None:
    """A float for JSON; None for NaN."""
    return float(value) if math.isfinite(value) else None


def _curve(document: type[Curve], curve: tuple[np.ndarray, np.ndarray] | None) -> Curve | None:
    """A curve as at most CURVE_POINTS points, evenly spaced by arc length, ends kept; None stays None."""
    if curve is None:
        return None
    points = np.stack(curve, axis=1)  # (points, 2)
    if len(points) > CURVE_POINTS:
        along = np.concatenate([[0], np.cumsum(np.abs(np.diff(points, axis=0)).sum(1))])
        chosen = np.searchsorted(along, np.linspace(0, along[-1], CURVE_POINTS))
        points = points[np.unique(np.clip(chosen, 0, len(points) - 1))]
    return document(**dict(zip(document.model_fields, np.round(points, 5).T.tolist(), strict=True)))
