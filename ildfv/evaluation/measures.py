"""Measures as functions of patient weights, so that resampling patients is a matrix product.

Every measure is a function of the weight of each patient, w (P,): a ratio of sums over patients, a harmonic mean of two
such ratios, a bilinear form wᵀ M w over pairs of patients (AUC), or a mean of measures. Its cost does not depend on the
number of slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from scipy.stats import rankdata

from ildfv.evaluation.metrics import harmonic_mean, ratio


class Measure(Protocol):
    """A number as a function of patient weights: (B, P) in, (B,) out, NaN if undefined."""

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """The measure for each row of weights."""

    @property
    def patients(self) -> int:
        """Number of patients that the measure depends on, which limits the reliability of its interval."""

    def mixed(self, other: Any, own: np.ndarray) -> np.ndarray:
        """The measure if this system scores the patients with own = 1 and the other system those with 0; own (B, P)."""


@dataclass(frozen=True)
class Ratio:
    """Σ_p w_p·numerator_p / Σ_p w_p·denominator_p: precision, recall, F of a pattern, means over slices."""

    numerator: np.ndarray  # (P,)
    denominator: np.ndarray  # (P,)
    needed: np.ndarray | None = None  # (P,) the measure is undefined if its weighted sum is 0

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        values = ratio(weights @ self.numerator, weights @ self.denominator)
        return values if self.needed is None else np.where(weights @ self.needed > 0, values, np.nan)

    @property
    def patients(self) -> int:
        return int(((self.denominator if self.needed is None else self.needed) > 0).sum())

    def mixed(self, other: Ratio, own: np.ndarray) -> np.ndarray:
        return ratio(
            own @ self.numerator + (1 - own) @ other.numerator, own @ self.denominator + (1 - own) @ other.denominator
        )


@dataclass(frozen=True)
class Harmonic:
    """2·P·R / (P + R) of two ratios, 0 if both are 0: the paper's overall F (Eq. 10) of its Eq. 8 and 9."""

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
    """AUC as a count of correctly ordered pairs of slices: wᵀ M w / wᵀ N w.

    M[p, q] counts pairs of a positive slice of p and a negative slice of q with scores in the right order, ties
    counted as one half; N[p, q] counts all such pairs. A patient drawn w times represents w patients. Each contributes
    the pairs within the patient once and no pairs with its copies, so the diagonal has weight w and not w². Only
    pairs within a fold count, as models of different folds have no common scale. Scores are stored as percentile ranks
    within their fold, which does not change the AUC and puts two systems on one scale.
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
        """fold (P,): fold of each patient; None if all are in one."""
        fold = np.zeros(n_patients, int) if fold is None else np.asarray(fold)
        return cls(percentiles(scores, fold[patient]), np.asarray(truth) > 0, patient, fold)

    @property
    def n_patients(self) -> int:
        return len(self.fold)

    @cached_property
    def paired(self) -> np.ndarray:
        """N (P, P)."""
        positives = np.bincount(self.patient[self.truth], minlength=self.n_patients)
        negatives = np.bincount(self.patient[~self.truth], minlength=self.n_patients)
        return np.outer(positives, negatives) * self._same_fold

    @cached_property
    def _same_fold(self) -> np.ndarray:
        """Whether two patients are in the same fold, (P, P)."""
        return self.fold[:, None] == self.fold

    def wins(self, other: Auc) -> np.ndarray:
        """M (P, P) with positives scored by this system and negatives by the other; cached for each other system."""
        if other in self._wins:
            return self._wins[other]
        order = np.argsort(self.ranks[self.truth], kind="stable")
        positive, owner = self.ranks[self.truth][order], self.patient[self.truth][order]
        negative, rival = other.ranks[~other.truth], other.patient[~other.truth]
        # A negative ranks below the positives after its right insertion point and ties with those between left and
        # right.
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
        """The smaller of the numbers of patients with a positive and with a negative slice that form pairs."""
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
    """Mean of measures, undefined if any of them is: macro F, mean AUC over a fixed set of patterns."""

    of: tuple[Measure, ...]

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        return self._mean([measure(weights) for measure in self.of], len(weights))

    @property
    def patients(self) -> int:
        """The smallest number of patients of any of the measures."""
        return min((measure.patients for measure in self.of), default=0)

    def mixed(self, other: Mean, own: np.ndarray) -> np.ndarray:
        return self._mean([a.mixed(b, own) for a, b in zip(self.of, other.of, strict=True)], len(own))

    @staticmethod
    def _mean(columns: Sequence[np.ndarray], n: int) -> np.ndarray:
        return np.mean(columns, axis=0) if columns else np.full(n, np.nan)


def percentiles(scores: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Percentile rank of each score (N,) within its fold, in (0, 1]; ties have their mean rank."""
    ranks = np.empty(len(scores))
    for one in np.unique(fold):
        mine = fold == one
        ranks[mine] = rankdata(np.asarray(scores)[mine]) / mine.sum()
    return ranks


def by_patient(values: np.ndarray, patient: np.ndarray, n_patients: int) -> np.ndarray:
    """Sums of values (N,) over the slices of each patient, shape (P,); NaN counts as 0."""
    return np.bincount(patient, weights=np.nan_to_num(np.asarray(values, dtype=float)), minlength=n_patients)


def _form(left: np.ndarray, matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """leftᵀ M right for each row, (B,)."""
    return np.einsum("bp,bp->b", left @ matrix, right)


def _over_patients(weights: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Σ_{p≠q} w_p M_pq w_q + Σ_p w_p M_pp for each row, (B,)."""
    return _form(weights, matrix, weights) - (weights * (weights - 1)) @ np.diagonal(matrix)
