"""Measures as functions of patient weights. In this form, resampling the patients is a matrix product.

Every measure is a function of the weights of the patients, w (P,): a ratio of sums over patients, the harmonic mean of
two such ratios, a ratio of forms wᵀ M w over pairs of patients (AUC), or a mean of measures. The time to evaluate it
does not depend on the number of slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from ildfv.evaluation.metrics import harmonic_mean, ratio


class Measure(Protocol):
    """A measure as a function of patient weights: it converts weights (B, P) to values (B,), NaN if undefined."""

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """The measure for each row of weights."""

    @property
    def patients(self) -> int:
        """Number of patients that the measure depends on, as defined by each class.

        With few patients, the interval of the measure is unreliable.
        """

    def mixed(self, other: Any, own: np.ndarray) -> np.ndarray:
        """The measure, (B,), if this system scores the patients with own = 1 and `other` those with own = 0.

        own: 0 or 1, (B, P).
        """


@dataclass(frozen=True)
class Ratio:
    """Σ_p w_p·numerator_p / Σ_p w_p·denominator_p, such as a precision, the F of a pattern or a mean over slices."""

    numerator: np.ndarray  # (P,)
    denominator: np.ndarray  # (P,)
    needed: np.ndarray | None = None  # (P,); if the weighted sum of this array is 0, the measure is undefined

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        values = ratio(weights @ self.numerator, weights @ self.denominator)
        return values if self.needed is None else np.where(weights @ self.needed > 0, values, np.nan)

    @property
    def patients(self) -> int:
        """The number of patients with a positive denominator, or a positive value of `needed` if it is given."""
        return int(((self.denominator if self.needed is None else self.needed) > 0).sum())

    def mixed(self, other: Ratio, own: np.ndarray) -> np.ndarray:
        return ratio(
            own @ self.numerator + (1 - own) @ other.numerator, own @ self.denominator + (1 - own) @ other.denominator
        )


@dataclass(frozen=True)
class Harmonic:
    """2·P·R / (P + R) of two ratios, or 0 if both are 0: the overall F of the paper (Eq. 10, from Eq. 8 and 9)."""

    precision: Ratio
    recall: Ratio

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        return harmonic_mean(self.precision(weights), self.recall(weights))

    @property
    def patients(self) -> int:
        return min(self.precision.patients, self.recall.patients)

    def mixed(self, other: Harmonic, own: np.ndarray) -> np.ndarray:
        return harmonic_mean(self.precision.mixed(other.precision, own), self.recall.mixed(other.recall, own))


@dataclass(frozen=True, eq=False)
class Auc:
    """AUC as the fraction of correctly ordered pairs of slices: wᵀ M w / wᵀ N w.

    N[p, q] is the number of pairs of a positive slice of patient p and a negative slice of patient q. M[p, q] is the
    number of these pairs whose scores are in the right order; a tie counts as one half. A patient drawn w times counts
    as w patients, but no pairs are formed between copies of the same patient; the diagonal therefore has the weight w
    and not w². Only pairs within a fold count, because models of different folds have no common scale. Scores are
    stored as percentile ranks within their fold, which does not change the AUC and gives two systems the same scale.
    """

    ranks: np.ndarray  # (N,)
    truth: np.ndarray  # (N,) bool
    patient: np.ndarray  # (N,) patient number of each slice
    fold: np.ndarray  # (P,) fold of each patient
    _wins: dict[Auc, np.ndarray] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        scores: np.ndarray,
        truth: np.ndarray,
        patient: np.ndarray,
        n_patients: int,
        fold: np.ndarray | None = None,
    ) -> Auc:
        """The AUC of scores (N,) for truth (N,). fold: fold of each patient, (P,); None if all are in one fold."""
        fold = np.zeros(n_patients, int) if fold is None else np.asarray(fold)
        return cls(percentiles(scores, fold[patient]), np.asarray(truth) > 0, patient, fold)

    @property
    def n_patients(self) -> int:
        return len(self.fold)

    @cached_property
    def paired(self) -> np.ndarray:
        """N, (P, P): the number of pairs; 0 for patients of different folds."""
        positives = np.bincount(self.patient[self.truth], minlength=self.n_patients)
        negatives = np.bincount(self.patient[~self.truth], minlength=self.n_patients)
        return np.outer(positives, negatives) * self._same_fold

    @cached_property
    def _same_fold(self) -> np.ndarray:
        """Whether two patients are in the same fold, (P, P)."""
        return self.fold[:, None] == self.fold

    def wins(self, other: Auc) -> np.ndarray:
        """M, (P, P), with the positives scored by this system and the negatives by `other`; cached per `other`."""
        if other in self._wins:
            return self._wins[other]
        order = np.argsort(self.ranks[self.truth], kind="stable")
        positive, owner = self.ranks[self.truth][order], self.patient[self.truth][order]
        negative, rival = other.ranks[~other.truth], other.patient[~other.truth]
        # A negative ranks below the positives after its right insertion point. It ties with the positives between its
        # left and right insertion points.
        places = np.stack([np.searchsorted(positive, negative, side) for side in ("left", "right")])  # (2, negatives)
        matrix = np.zeros((self.n_patients, self.n_patients))
        for q in np.unique(rival):
            beaten = np.cumsum(np.bincount(places[:, rival == q].ravel(), minlength=len(positive) + 1))[:-1] / 2
            matrix[:, q] = np.bincount(owner, weights=beaten, minlength=self.n_patients)
        matrix *= self._same_fold
        self._wins[other] = matrix
        return matrix

    def pairs(self, weights: np.ndarray) -> np.ndarray:
        """Number of positive–negative pairs for each row of weights, (B,)."""
        return _over_patients(weights, self.paired)

    @property
    def patients(self) -> int:
        """The number of patients whose positive slices are in pairs, or whose negative slices are, if it is smaller."""
        return int(min((self.paired.sum(1) > 0).sum(), (self.paired.sum(0) > 0).sum()))

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        return ratio(_over_patients(weights, self.wins(self)), self.pairs(weights))

    def mixed(self, other: Auc, own: np.ndarray) -> np.ndarray:
        theirs = 1 - own
        wins = (
            _form(own, self.wins(self), own)
            + _form(own, self.wins(other), theirs)
            + _form(theirs, other.wins(self), own)
            + _form(theirs, other.wins(other), theirs)
        )
        return ratio(wins, self.pairs(np.ones_like(own)))


@dataclass(frozen=True)
class Mean:
    """Mean of measures, such as the macro F or the mean AUC. It is undefined if any of the measures is undefined."""

    of: tuple[Measure, ...]

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        return self._mean([measure(weights) for measure in self.of], len(weights))

    @property
    def patients(self) -> int:
        """The smallest number of patients that any of the measures depends on."""
        return min((measure.patients for measure in self.of), default=0)

    def mixed(self, other: Mean, own: np.ndarray) -> np.ndarray:
        return self._mean([a.mixed(b, own) for a, b in zip(self.of, other.of, strict=True)], len(own))

    @staticmethod
    def _mean(columns: Sequence[np.ndarray], n: int) -> np.ndarray:
        return np.mean(columns, axis=0) if columns else np.full(n, np.nan)


def percentiles(scores: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Percentile rank of each score within its fold, in (0, 1], shape (N,). Equal scores have their mean rank."""
    ranks = np.empty(len(scores))
    for number in np.unique(fold):
        here = fold == number
        ranks[here] = mean_ranks(np.asarray(scores)[here]) / here.sum()
    return ranks


def mean_ranks(values: np.ndarray) -> np.ndarray:
    """Rank of each value, (N,), where the smallest has rank 1. Equal values have their mean rank.

    The function is `rankdata` of scipy.stats, whose import takes longer than the evaluation of a small set.
    """
    order = np.argsort(values, kind="stable")
    first = np.append(True, np.diff(values[order]) != 0)  # whether a value is larger than the one before
    ends = np.append(np.flatnonzero(first), len(values))
    ranks = np.empty(len(values))
    group = np.cumsum(first)
    ranks[order] = (ends[group] + ends[group - 1] + 1) / 2
    return ranks


def by_patient(values: np.ndarray, patient: np.ndarray, n_patients: int) -> np.ndarray:
    """Sum of the values (N,) over the slices of each patient, shape (P,). NaN counts as 0."""
    return np.bincount(patient, weights=np.nan_to_num(np.asarray(values, dtype=float)), minlength=n_patients)


def _form(left: np.ndarray, matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """leftᵀ M right for each row, (B,)."""
    return np.einsum("bp,bp->b", left @ matrix, right)


def _over_patients(weights: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Σ_{p≠q} w_p M_pq w_q + Σ_p w_p M_pp for each row, (B,)."""
    return _form(weights, matrix, weights) - (weights * (weights - 1)) @ np.diagonal(matrix)
