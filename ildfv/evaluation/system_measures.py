"""All measures of one system as functions of patient weights, which `evaluate` and `compare` use."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ildfv.evaluation import metrics
from ildfv.evaluation.intervals import MIN_PATIENTS
from ildfv.evaluation.measures import Auc, Harmonic, Mean, Measure, Ratio, by_patient
from ildfv.evaluation.predictions import Pooled, Predictions

MEANS = {"macro_f": "f", "mean_auc": "auc"}  # each is the mean of a metric over the patterns where it is defined
SUPPORTED = "supported_mean_auc"  # the mean AUC of `supported` patterns


def system_measures(folds: Sequence[Predictions]) -> dict[str, Measure]:
    """Every measure as a function of patient weights, by name, such as "f" or "ground glass/auc"."""
    pooled = Pooled.of(folds)
    truth, known, predicted, patient = pooled.truth, pooled.known, pooled.predicted, pooled.patient
    n = len(pooled.names)

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
        error = (pooled.probability[:, k] - y) ** 2
        measures[f"{pattern}/brier"] = (
            Ratio(summed(error * here), summed(here)) if np.isfinite(error).all() else undefined
        )
        ranked = pooled.ranked[:, k]
        measures[f"{pattern}/auc"] = Auc.of(pooled.scores[ranked, k], y[ranked], patient[ranked], n, pooled.fold)
    sets = metrics.sample_terms(truth, predicted)
    sets[~known.all(axis=1)] = np.nan
    means = {
        name: Ratio(summed(terms), summed(np.isfinite(terms)))
        for name, terms in zip(metrics.SAMPLE_TERMS, sets.T, strict=True)
    }
    measures |= means | {"f": Harmonic(means["precision"], means["recall"])}
    measures["micro_f"] = Ratio(2 * hits, calls + cases)
    for mean, name in MEANS.items():
        measures[mean] = Mean(tuple(measures[f"{p}/{name}"] for p in patterns_with(name, n, labels, measures)))
    measures[SUPPORTED] = Mean(tuple(measures[f"{p}/auc"] for p in supported(labels, measures)))
    return measures


def supported(labels: Sequence[str], measures: dict[str, Measure]) -> list[str]:
    """The patterns whose AUC depends on enough patients for an interval.

    The mean AUC over all patterns has no interval if the AUC of any pattern depends on too few patients; the mean over
    the returned patterns can have one. The patterns depend only on the labels, so they are the same for all systems on
    the same slices.
    """
    return [p for p in labels if measures[f"{p}/auc"].patients >= MIN_PATIENTS]


def patterns_with(name: str, n_patients: int, labels: Sequence[str], *systems: dict[str, Measure]) -> list[str]:
    """The patterns for which this measure is defined for every system."""
    ones = np.ones((1, n_patients))
    return [p for p in labels if all(np.isfinite(measures[f"{p}/{name}"](ones)[0]) for measures in systems)]
