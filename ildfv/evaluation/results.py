"""The results of systems, paired comparisons of systems, and the spread of results over folds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from ildfv.errors import check
from ildfv.evaluation import curves, metrics
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
from ildfv.evaluation.intervals import LEVEL, METHOD, RESAMPLES, confidence, paired_over_seeds, resampled
from ildfv.evaluation.measures import Auc, Harmonic, Mean, Measure, Ratio, by_patient, percentiles
from ildfv.evaluation.thresholds import Decisions

MEANS = {"macro_f": "f", "mean_auc": "auc"}  # each is the mean of a metric over the patterns where it is defined
TESTED = ("accuracy", "f", "mean_slice_f", "micro_f", "macro_f", "mean_auc")  # overall measures in `compare`
OVERALL = (*metrics.SAMPLE_METRICS, "micro_f", "macro_f", "mean_auc")
RESAMPLED = ("auc", "precision", "recall", "f", "brier")  # measures of a pattern that have an interval
PER_PATTERN = ("auc", "ap", "precision", "recall", "f", "brier")
CURVE_POINTS = 200  # maximum number of points of a stored curve; metrics use all scores


@dataclass(frozen=True)
class Predictions:
    """The predictions of one system on the test slices of one fold, with the reference labels of these slices.

    system: name such as "cnn" or "fv-conv1". scores (N, C): a larger score means more likely present. presence (N, C):
    the reference, 1 present, 0 absent, −1 unknown. Unknown entries are excluded from all measures of the pattern, and
    slices with an unknown entry from all measures of label sets. patients (N,): patient of each slice. decisions:
    fitted on validation slices of the same fold. labels: names of the C patterns.
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
        check(bool(np.isin(self.presence, (-1, 0, 1)).all()), "presence must be 1, 0 or −1 (unknown)")
        known = (np.asarray(self.presence) >= 0).any(axis=1)
        check(
            bool(known.all()),
            f"every slice must have a label, got {int((~known).sum())} slices without: exclude these slices",
        )
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
    """The results of one system on one fold or, given the predictions of several folds, on the pooled folds.

    For pooled folds, each fold keeps its own decision thresholds. Models of different folds have no common scale, so
    the AUC counts only pairs of slices within a fold. The AP is the mean of the folds' APs, weighted by their numbers
    of positives. Curves are averages of the folds' curves (`evaluation.curves`); their areas are the AUC and the AP.

    Parameters
    ----------
    predictions : Predictions or sequence of Predictions
        One system, on one or several folds.
    data : {"phantom", "user"}
        Whether the slices are phantoms or the user's scans.
    threshold : int
        Number of pixels from which a pattern counts as present in `Predictions.presence`.
    n_resamples : int
        Number of bootstrap resamples of the patients, for the intervals.
    seed : int
        Seed of the resampling.
    settings : dict, optional
        Settings of the system, as JSON values, stored in the document.

    Returns
    -------
    Results
        Undefined values are None: an AUC without positives or without negatives; an F without positives, because it
        does not measure then whether the system finds the pattern; an interval of a measure that depends on fewer than
        five patients or is defined on fewer than 90 % of the resamples. macro_f and mean_auc are means over the
        patterns for which F or AUC is defined.

    Raises
    ------
    InputError
        There are no predictions; they are of several systems or of different labels; or a fold occurs twice, or a
        patient in two folds.
    """
    folds = _folds(predictions)
    check(data in DATA, f'data must be "phantom" or "user", got {data!r}')
    truth, _, predicted, probability, patient, names, _ = _pooled(folds)
    one = len(folds) == 1
    known = _known(folds)
    weights = resampled(len(names), n_resamples, seed=seed)
    measures = _measures(folds)
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
        y, p = truth[here, k], probability[here, k]
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
            threshold=folds[0].decisions.thresholds[k] if one else None,
            **_ranking(folds, k),
            calibration=CalibrationCurve(**metrics.calibration_curve(y, p)) if calibrated else None,
        )

    complete = known.all(axis=1)
    agreeing = metrics.sample_metrics(truth[complete], predicted[complete], empty="agree")
    return Results(
        kind=RESULTS,
        version=2,
        system=folds[0].system,
        fold=folds[0].fold if one else None,
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
            **estimates({name: name for name in OVERALL}),
            patients={name: measures[name].patients for name in OVERALL},
            agreeing=SampleMetrics(**{name: _number(value) for name, value in agreeing.items()}),
        ),
        decisions={str(f.fold): f.decisions for f in folds},
        settings=dict(settings or {}),
    )


def undecided(document: Results) -> list[str]:
    """Lines that name the patterns without a decision threshold; patterns with the same such folds share a line."""
    patterns: dict[tuple[str, ...], list[str]] = {}
    for k, pattern in enumerate(document.labels):
        folds = tuple(fold for fold, found in document.decisions.items() if found.thresholds[k] is None)
        if folds:
            patterns.setdefault(folds, []).append(pattern)
    return [
        f"no validation slice of fold{'s' * (len(folds) > 1)} {', '.join(folds)} shows {' or '.join(names)} at "
        f"T = {document.threshold} pixels, so {'they have' if len(names) > 1 else 'it has'} no decision threshold: "
        f"{'they are' if len(names) > 1 else 'it is'} never predicted there, and each occurrence is a false negative "
        "in label sets and micro F"
        for folds, names in patterns.items()
    ]


def compare(
    a: Predictions | Sequence[Predictions],
    b: Predictions | Sequence[Predictions],
    *,
    n_resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Paired tests, by patient, between two systems on the same slices: `compare_over_seeds` for one seed."""
    return compare_over_seeds([(a, b)], n_resamples=n_resamples, seed=seed)


def compare_over_seeds(
    pairs: Sequence[tuple[Predictions | Sequence[Predictions], Predictions | Sequence[Predictions]]],
    *,
    n_resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Paired tests, by patient, between two systems on the same slices, each fitted with one or several seeds.

    Macro F and mean AUC are means over the patterns for which both systems have a value with every seed. p values are
    not corrected for the number of tests. With several seeds, the differences are means over the seeds, and their
    intervals include the variation over seeds (`paired_over_seeds`).

    Parameters
    ----------
    pairs : sequence of (predictions, predictions)
        The two systems, on one or several folds, with each seed.
    seed : int
        Seed of the resampling.

    Raises
    ------
    InputError
        There is no pair, or the predictions are not for the same slices in the same order.
    """
    check(len(pairs) > 0, "pairs must hold the predictions of at least one seed, got none")
    folds = [(_folds(a), _folds(b)) for a, b in pairs]
    (first, second), reference = folds[0], _pooled(folds[0][0])
    for one in (side for pair in folds for side in pair):
        check(
            _same_slices(reference, _pooled(one)) and list(one[0].labels) == list(first[0].labels),
            f"{first[0].system} and {second[0].system} must be scored on the same slices in the same order",
        )
    measures, n = [(_measures(a), _measures(b)) for a, b in folds], len(reference[5])
    systems = [one for pair in measures for one in pair]
    for mean, name in MEANS.items():
        common = _defined(name, n, first[0].labels, *systems)
        for found in systems:
            found[mean] = Mean(tuple(found[f"{p}/{name}"] for p in common))
    tests = {
        name: paired_over_seeds([(a[name], b[name]) for a, b in measures], n, n_resamples=n_resamples, seed=seed)
        for name in measures[0][0]
        if name in TESTED or name.endswith(("/auc", "/f"))
    }
    return Comparison(
        kind=COMPARISON,
        version=2,
        a=first[0].system,
        b=second[0].system,
        n_slices=len(reference[0]),
        n_patients=n,
        seeds=len(pairs),
        resamples=n_resamples,
        seed=seed,
        tests=tests,
    )


def spread(documents: Sequence[Results]) -> Spread:
    """Mean and standard deviation over folds of every measure of one system. documents: from `evaluate`, one per fold.

    A fold on which a measure is undefined does not count in the n of that measure. The standard deviation has n − 1 in
    its denominator and is None for n < 2.
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
    """Every measure as a function of patient weights, by name, such as "f" or "ground glass/auc"."""
    truth, scores, predicted, probability, patient, names, fold = _pooled(folds)
    n, known = len(names), _known(folds)

    def summed(values: np.ndarray) -> np.ndarray:
        return by_patient(values, patient, n)

    undefined = Ratio(np.zeros(n), np.zeros(n))  # 0 / 0 for all weights
    measures: dict[str, Measure] = {}
    hits, calls, cases = np.zeros(n), np.zeros(n), np.zeros(n)
    labels = folds[0].labels
    for k, pattern in enumerate(labels):
        here = known[:, k]
        y, t = truth[:, k], predicted[:, k] & here
        tp, n_t, n_s = summed(y & t), summed(t), summed(y)
        hits, calls, cases = hits + tp, calls + n_t, cases + n_s
        decided = all(f.decisions.thresholds[k] is not None for f in folds)
        measures[f"{pattern}/precision"] = Ratio(tp, n_t) if decided else undefined
        measures[f"{pattern}/recall"] = Ratio(tp, n_s) if decided else undefined
        measures[f"{pattern}/f"] = Ratio(2 * tp, n_t + n_s, needed=n_s) if decided else undefined
        error = (probability[:, k] - y) ** 2
        measures[f"{pattern}/brier"] = (
            Ratio(summed(error * here), summed(here)) if np.isfinite(error).all() else undefined
        )
        measures[f"{pattern}/auc"] = Auc.of(scores[here, k], y[here], patient[here], n, fold)
    sets = metrics.sample_terms(truth, predicted)
    sets[~known.all(axis=1)] = np.nan
    means = {
        name: Ratio(summed(terms), summed(np.isfinite(terms)))
        for name, terms in zip(metrics.SAMPLE_TERMS, sets.T, strict=True)
    }
    measures |= means | {"f": Harmonic(means["precision"], means["recall"])}
    measures["micro_f"] = Ratio(2 * hits, calls + cases)
    for mean, name in MEANS.items():
        measures[mean] = Mean(tuple(measures[f"{p}/{name}"] for p in _defined(name, n, labels, measures)))
    return measures


def _defined(name: str, n_patients: int, labels: Sequence[str], *systems: dict[str, Measure]) -> list[str]:
    """The patterns for which this measure is defined in every system."""
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
    """The value as a float for JSON; None if it is NaN."""
    return float(value) if math.isfinite(value) else None


def _ranking(folds: list[Predictions], k: int) -> dict[str, Any]:
    """The fields ap, roc and pr of pattern k: weighted means over the folds in which they are defined."""
    columns = []
    for fold in folds:
        presence = np.asarray(fold.presence)[:, k]
        here = presence >= 0
        columns.append((presence[here] > 0, np.asarray(fold.scores, dtype=float)[here, k]))
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


def _same_slices(x: tuple[np.ndarray, ...], y: tuple[np.ndarray, ...]) -> bool:
    """Whether two results of `_pooled` have the same truth, patients and names, in the same order."""
    return all(len(x[i]) == len(y[i]) and bool((x[i] == y[i]).all()) for i in (0, 4, 5))
