"""Multi-label and per-pattern metrics. Undefined values are NaN here and null in JSON, never 0.

truth and predicted are 0/1 or boolean arrays: of shape (N, C) in the functions of decisions, and (N,), for one pattern,
in the functions of scores and probabilities. A larger score means that the pattern is more likely present. The
functions of scores raise InputError if a score is not finite or the shapes differ.
"""

from __future__ import annotations

import numpy as np

from ildfv.errors import check

SAMPLE_TERMS = ("accuracy", "precision", "recall", "mean_slice_f")
SAMPLE_METRICS = ("accuracy", "precision", "recall", "f", "mean_slice_f")


def sample_terms(truth: np.ndarray, predicted: np.ndarray, *, empty: str = "skip") -> np.ndarray:
    """Accuracy, precision, recall and F of each slice, shape (N, 4); NaN where undefined.

    S is the set of true patterns and T the set of predicted patterns of a slice (paper, Eq. 7–9; F of one slice):
        accuracy |S∩T| / |S∪T|,  precision |S∩T| / |T|,  recall |S∩T| / |S|,  F 2·|S∩T| / (|S| + |T|)
    A ratio with denominator 0 is undefined, which is common on healthy slices:
        |S| = 0, |T| = 0   all four undefined (a healthy slice predicted healthy)
        |S| = 0, |T| > 0   accuracy, precision and F are 0, recall is undefined
        |S| > 0, |T| = 0   accuracy, recall and F are 0, precision is undefined
    With empty="skip", undefined ratios are NaN, like scikit-learn's zero_division=nan. With empty="agree", all four are
    1 on a healthy slice predicted healthy, and other undefined ratios are NaN.

    InputError: another value of `empty`, or shapes that are not equal and two-dimensional.
    """
    check(empty in ("skip", "agree"), f'empty must be "skip" or "agree", got {empty!r}')
    s, t = np.asarray(truth) > 0, np.asarray(predicted) > 0
    check(s.ndim == 2, f"truth must have shape (N, C), got {s.shape}")
    check(s.shape == t.shape, f"predicted must have truth's shape {s.shape}, got {t.shape}")
    both, n_s, n_t = (s & t).sum(1), s.sum(1), t.sum(1)
    terms = np.stack(
        [ratio(both, (s | t).sum(1)), ratio(both, n_t), ratio(both, n_s), ratio(2 * both, n_s + n_t)], axis=1
    )
    if empty == "agree":
        terms[(n_s == 0) & (n_t == 0)] = 1.0
    return terms


def sample_metrics(truth: np.ndarray, predicted: np.ndarray, *, empty: str = "skip") -> dict[str, float]:
    """Metrics of the label sets of slices (paper, Eq. 7–10), by the names in `SAMPLE_METRICS`.

    accuracy, precision and recall are means of the `sample_terms` over the slices where each is defined. f is the
    harmonic mean of this precision and this recall (Eq. 10). mean_slice_f is a different measure, the mean over slices
    of the F of each slice: scikit-learn's f1_score with average="samples".
    """
    terms = sample_terms(truth, predicted, empty=empty)
    means = ratio(np.nansum(terms, axis=0), np.isfinite(terms).sum(0))
    found = dict(zip(SAMPLE_TERMS, means.tolist(), strict=True))
    found["f"] = float(harmonic_mean(found["precision"], found["recall"]))
    return {name: found[name] for name in SAMPLE_METRICS}


def confusion(truth: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    """The numbers tp, fp, fn and tn of each pattern, int64, shape (C,) each."""
    s, t = np.asarray(truth) > 0, np.asarray(predicted) > 0
    return {"tp": (s & t).sum(0), "fp": (~s & t).sum(0), "fn": (s & ~t).sum(0), "tn": (~s & ~t).sum(0)}


def pattern_metrics(truth: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    """precision, recall and f of each pattern, shape (C,) each. They are NaN where the denominator is 0."""
    n = confusion(truth, predicted)
    return {
        "precision": ratio(n["tp"], n["tp"] + n["fp"]),
        "recall": ratio(n["tp"], n["tp"] + n["fn"]),
        "f": ratio(2 * n["tp"], 2 * n["tp"] + n["fp"] + n["fn"]),
    }


def roc_curve(truth: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """(fpr, tpr) from (0, 0) to (1, 1), one point per distinct score; None if a class is absent."""
    truth, scores = _checked(truth, scores)
    if truth.all() or not truth.any():
        return None
    tp, fp = (np.append(0.0, counts) for counts in _counts(truth, scores))
    return fp / fp[-1], tp / tp[-1]


def roc_auc(truth: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve: P(score of a positive > score of a negative), with ties counted as one half.

    It is NaN if a class is absent.
    """
    curve = roc_curve(truth, scores)
    return float("nan") if curve is None else float(np.trapezoid(curve[1], curve[0]))


def pr_curve(truth: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """(recall, precision) in order of increasing recall, starting by convention at (0, 1); None without a positive."""
    truth, scores = _checked(truth, scores)
    if not truth.any():
        return None
    tp, fp = _counts(truth, scores)
    return np.append(0.0, tp / tp[-1]), np.append(1.0, tp / (tp + fp))


def average_precision(truth: np.ndarray, scores: np.ndarray) -> float:
    """Σ (R_i − R_{i−1})·P_i over the distinct scores in decreasing order; NaN without a positive."""
    curve = pr_curve(truth, scores)
    # average_precision_score of scikit-learn sums in another order, which would change the last bit of stored results.
    return float("nan") if curve is None else float(np.diff(curve[0]) @ curve[1][1:])


def brier(truth: np.ndarray, probability: np.ndarray) -> float:
    """Mean of (probability − truth)²; NaN without slices."""
    error = np.asarray(probability, dtype=float) - (np.asarray(truth) > 0)
    return float(np.mean(error**2)) if error.size else float("nan")


def calibration_curve(truth: np.ndarray, probability: np.ndarray, *, bins: int = 10) -> dict[str, list]:
    """The calibration curve in bins of equal width, without empty bins.

    truth, probability: (N,). The result has lists with one value per bin. predicted: mean probability. observed:
    fraction of positives. n: number of slices.
    """
    truth, probability = np.asarray(truth) > 0, np.asarray(probability, dtype=float)
    edges = np.linspace(0, 1, bins + 1)
    number = np.searchsorted(edges[1:-1], probability)
    n = np.bincount(number, minlength=bins)
    full = n > 0
    predicted = np.bincount(number, weights=probability, minlength=bins)[full] / n[full]
    observed = np.bincount(number, weights=truth, minlength=bins)[full] / n[full]
    return {"predicted": predicted.tolist(), "observed": observed.tolist(), "n": n[full].tolist()}


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """numerator / denominator, float64 of their shape; NaN where the denominator is 0."""
    numerator, denominator = np.asarray(numerator, dtype=float), np.asarray(denominator, dtype=float)
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator != 0)


def harmonic_mean(precision: np.ndarray | float, recall: np.ndarray | float) -> np.ndarray:
    """2·precision·recall / (precision + recall) as float64; 0 where both are 0, NaN where one is undefined."""
    precision, recall = np.asarray(precision, dtype=float), np.asarray(recall, dtype=float)
    total = precision + recall
    return np.where(total == 0, 0.0, ratio(2 * precision * recall, total))


def _counts(truth: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of true and of false positives if the slices with at least a certain score are predicted positive.

    There is one number per distinct score, in decreasing order. The functions of scores above agree with
    `sklearn.metrics`, which is not used, because its import takes a second.
    """
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)  # the last slice of each distinct score
    tp = np.cumsum(truth[order], dtype=float)[last]
    return tp, 1.0 + last - tp


def _checked(truth: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """truth as bool and scores as float64, both (N,). InputError: unequal shapes, or scores that are not finite."""
    truth, scores = np.asarray(truth) > 0, np.asarray(scores, dtype=float)
    check(truth.ndim == 1, f"truth must have shape (N,), got {truth.shape}")
    check(truth.shape == scores.shape, f"scores must have shape {truth.shape}, got {scores.shape}")
    check(bool(np.isfinite(scores).all()), "scores must be finite, got NaN or infinity")
    return truth, scores
