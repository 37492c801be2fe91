"""The results of one system on one fold or several, and their spread over folds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from ildfv.errors import check
from ildfv.evaluation import curves, metrics
from ildfv.evaluation.documents import (
    DATA,
    RESULTS,
    SCAN,
    CalibrationCurve,
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
    labels_field,
    unit_field,
)
from ildfv.evaluation.intervals import LEVEL, METHOD, RESAMPLES, confidence, resampled
from ildfv.evaluation.predictions import Pooled, Predictions, by_fold
from ildfv.evaluation.system_measures import SUPPORTED, supported, system_measures
from ildfv.patterns import Threshold, extent_text, parse_threshold

OVERALL = (*metrics.SAMPLE_METRICS, "micro_f", "macro_f", "mean_auc")
RESAMPLED = ("auc", "precision", "recall", "f", "brier")  # measures of a pattern that have an interval
PER_PATTERN = ("auc", "ap", "precision", "recall", "f", "brier")
CURVE_POINTS = 200  # maximum number of points of a stored curve; metrics use all scores


def evaluate(
    predictions: Predictions | Sequence[Predictions],
    *,
    data: str,
    threshold: Threshold,
    n_resamples: int = RESAMPLES,
    seed: int = 0,
    settings: dict | None = None,
) -> Results:
    """The results of one system on one fold or, given the predictions of several folds, on the pooled folds.

    For pooled folds, each fold keeps its own decision thresholds. Models of different folds have no common scale, so
    the AUC counts only pairs of slices within a fold. The AP is the mean of the folds' APs, weighted by their numbers
    of positives. Folds in which a pattern is `Predictions.unlearned` are excluded from both. Curves are averages of the
    folds' curves (`evaluation.curves`); their areas are the AUC and the AP.

    Parameters
    ----------
    predictions : Predictions or sequence of Predictions
        One system, on one or several folds.
    data : {"phantom", "user"}
        Whether the slices are phantoms or the user's scans.
    threshold : int or str
        T, the smallest extent of a pattern that counts as present in `Predictions.presence`: a number of pixels, or a
        percentage of the slice's lung pixels, such as "5%". It is stored in the document.
    n_resamples : int
        Number of bootstrap resamples of the patients, for the intervals.
    seed : int
        Seed of the resampling.
    settings : dict, optional
        Settings of the system, as JSON values, stored in the document.

    Returns
    -------
    Results
        Undefined values are None. An AUC is undefined without positives or without negatives, and an F without
        positives, because such an F does not measure whether the system finds the pattern. Precision, recall and F of a
        pattern are also undefined if a fold has no decision threshold. `intervals.confidence` states when there is no
        interval. macro_f and mean_auc are means over the patterns for which F or AUC is defined, and supported_mean_auc
        over those whose AUC depends on at least five patients.

    Raises
    ------
    InputError
        The predictions are not consistent (`predictions.by_fold`), or another argument is invalid.
    """
    folds, threshold = by_fold(predictions), parse_threshold(threshold)
    check(data in DATA, f'data must be "phantom" or "user", got {data!r}')
    pooled = Pooled.of(folds)
    truth, known, predicted = pooled.truth, pooled.known, pooled.predicted
    patient, names, single_fold = pooled.patient, pooled.names, len(folds) == 1
    weights = resampled(len(names), n_resamples, seed=seed)
    measures = system_measures(folds)
    everyone = np.ones((1, len(names)))

    def estimates(keys: dict[str, str]) -> dict[str, Any]:
        """The fields `<name>` and `<name>_interval` of each measure. keys: field name → name of the measure."""
        fields: dict[str, Any] = {}
        for name, key in keys.items():
            fields[name] = _number(measures[key](everyone)[0])
            fields[f"{name}_interval"] = confidence(measures[key], weights)
        return fields

    per_pattern = {}
    for k, pattern in enumerate(folds[0].labels):
        here = known[:, k]
        y, p = truth[here, k], pooled.probability[here, k]
        decided = all(f.decisions.thresholds[k] is not None for f in folds)
        counts: dict[str, Any] = {
            name: int(n) if decided else None for name, n in metrics.confusion(y, predicted[here, k]).items()
        }
        calibrated = len(p) > 0 and bool(np.isfinite(p).all())
        per_pattern[pattern] = PatternResults(
            prevalence=float(y.mean()) if len(y) else None,
            positives=int(y.sum()),
            positive_patients=len(np.unique(patient[here][y])),
            negative_patients=len(np.unique(patient[here][~y])),
            **estimates({name: f"{pattern}/{name}" for name in RESAMPLED}),
            **counts,
            patients={name: measures[f"{pattern}/{name}"].patients for name in RESAMPLED},
            threshold=folds[0].decisions.thresholds[k] if single_fold else None,
            **_ranking(folds, k),
            calibration=CalibrationCurve(**metrics.calibration_curve(y, p)) if calibrated else None,
        )

    complete = known.all(axis=1)
    agreeing = metrics.sample_metrics(truth[complete], predicted[complete], empty="agree")
    return Results(
        kind=RESULTS,
        version=2,
        system=folds[0].system,
        fold=folds[0].fold if single_fold else None,
        folds=[f.fold for f in folds],
        data=cast(Data, data),
        threshold=threshold,
        n_slices=len(truth),
        n_patients=len(names),
        intervals=IntervalSettings(method=METHOD, level=LEVEL, resamples=n_resamples, seed=seed),
        empty="skip",
        n_empty=int((complete & (truth.sum(1) == 0) & (predicted.sum(1) == 0)).sum()),
        per_pattern=per_pattern,
        overall=OverallResults(
            **estimates({name: name for name in (*OVERALL, SUPPORTED)}),
            patients={name: measures[name].patients for name in (*OVERALL, SUPPORTED)},
            supported=supported(folds[0].labels, measures),
            agreeing=SampleMetrics(**{name: _number(value) for name, value in agreeing.items()}),
        ),
        decisions={str(f.fold): f.decisions for f in folds},
        settings=dict(settings or {}),
        **unit_field(folds[0].unit),
        **labels_field(folds[0].pixel_counts),
    )


def undecided(document: Results) -> list[str]:
    """Lines on labelled patterns without a decision threshold; patterns that lack it in the same folds share a line."""
    counted = document.pixel_counts and document.unit != SCAN
    shown = f" at T = {extent_text(document.threshold)}" if counted else ""
    patterns: dict[tuple[str, ...], list[str]] = {}
    for k, pattern in enumerate(document.labels):
        folds = tuple(fold for fold, found in document.decisions.items() if found.thresholds[k] is None)
        if folds and document.per_pattern[pattern].prevalence is not None:  # unlabelled patterns need no decision
            patterns.setdefault(folds, []).append(pattern)
    lines = []
    for folds, names in patterns.items():
        have, them, they_are = ("have", "them", "they are") if len(names) > 1 else ("has", "it", "it is")
        lines.append(
            f"{' and '.join(names)} {have} no decision threshold if fold {' or '.join(folds)} is held out, because no "
            f"validation {document.unit} shows {them}{shown}: {they_are} never predicted there, and each occurrence "
            "is a false negative in label sets and micro F"
        )
    return lines


def spread(documents: Sequence[Results]) -> Spread:
    """Mean and standard deviation over folds of the measures in PER_PATTERN and OVERALL of one system.

    documents: from `evaluate`, one per fold. n is the number of folds on which the measure is defined. The standard
    deviation has n − 1 in its denominator and is None for n < 2. InputError: there are no documents, or they are of
    several systems.
    """
    check(len(documents) > 0, "documents must contain at least one fold, got none")
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


def _number(value: float) -> float | None:
    """The value as a float for JSON; None if it is NaN."""
    return float(value) if math.isfinite(value) else None


def _ranking(folds: list[Predictions], k: int) -> dict[str, Any]:
    """The fields ap, roc and pr of pattern k: weighted means over the folds in which they are defined."""
    columns = []
    for fold in folds:
        here = fold.ranked[:, k]
        columns.append((np.asarray(fold.presence)[here, k] > 0, np.asarray(fold.scores, dtype=float)[here, k]))
    both = [(y, f) for y, f in columns if y.any() and not y.all()]
    shown = [(y, f) for y, f in columns if y.any()]
    found: dict[str, Any] = {"ap": None, "roc": None, "pr": None}
    if both:
        each = [curve for y, f in both if (curve := metrics.roc_curve(y, f)) is not None]
        fpr, tpr = curves.thinned_roc(curves.mean_roc(each, [y.sum() * (~y).sum() for y, _ in both]), CURVE_POINTS)
        found["roc"] = RocCurve(fpr=fpr.tolist(), tpr=tpr.tolist())
    if shown:
        positives = [int(y.sum()) for y, _ in shown]
        each = [curve for y, f in shown if (curve := metrics.pr_curve(y, f)) is not None]
        recall, precision = curves.thinned_pr(curves.mean_pr(each, positives), CURVE_POINTS)
        found["pr"] = PrCurve(recall=recall.tolist(), precision=precision.tolist())
        found["ap"] = float(np.average([metrics.average_precision(y, f) for y, f in shown], weights=positives))
    return found
