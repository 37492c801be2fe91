"""Bootstrap intervals and permutation tests. Patients are resampled, as slices of one patient are not independent.

Every measure is a function of the weight of each patient, w (P,): a ratio of sums over patients, a bilinear form
wᵀ M w over pairs of patients (AUC), or a mean of such measures. Resampling is then a matrix product, and its cost does
not depend on the number of slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from scipy.stats import rankdata

from ildfv.errors import check
from ildfv.evaluation.documents import Interval, PairedTest
from ildfv.evaluation.metrics import ratio

RESAMPLES = 2000  # bootstrap resamples and random swaps: 2 of them are a p value of 0.001
MIN_DEFINED = 0.9  # an interval is undefined if fewer of the resamples define the measure


class Measure(Protocol):
    """A number as a function of patient weights: (B, P) in, (B,) out, NaN if undefined."""

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """The measure for each row of weights."""

    def mixed(self, other: Any, own: np.ndarray) -> np.ndarray:
        """The measure if this system scores the patients with own = 1 and the other system those with 0; own (B, P)."""


@dataclass(frozen=True)
class Ratio:
    """Σ_p w_p·numerator_p / Σ_p w_p·denominator_p: precision, recall, F, means over slices."""

    numerator: np.ndarray  # (P,)
    denominator: np.ndarray  # (P,)
    needed: np.ndarray | None = None  # (P,) the measure is undefined if its weighted sum is 0

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        values = ratio(weights @ self.numerator, weights @ self.denominator)
        return values if self.needed is None else np.where(weights @ self.needed > 0, values, np.nan)

    def mixed(self, other: Ratio, own: np.ndarray) -> np.ndarray:
        return ratio(
            own @ self.numerator + (1 - own) @ other.numerator, own @ self.denominator + (1 - own) @ other.denominator
        )


@dataclass(frozen=True, eq=False)
class Auc:
    """AUC as a count of correctly ordered pairs of slices: wᵀ M w / wᵀ N w.

    M[p, q] counts pairs of a positive slice of p and a negative slice of q with scores in the right order, ties
    counted as one half; N[p, q] counts all such pairs. Only pairs within a fold count, as models of different folds
    have no common scale. Scores are stored as percentile ranks within their fold, which does not change the AUC and
    puts two systems on one scale.
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
        # A negative ranks below the positives after its right place and ties with those between left and right.
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
        return _form(weights, self.paired, weights)

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        return ratio(_form(weights, self.wins(self), weights), self.pairs(weights))

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


def resampled(n_patients: int, n_resamples: int = RESAMPLES, *, seed: int = 0) -> np.ndarray:
    """Number of times that each patient is drawn in each bootstrap resample, shape (B, P), float64."""
    check(n_patients >= 1, f"n_patients must be at least 1, got {n_patients}")
    return np.random.default_rng(seed).multinomial(n_patients, [1 / n_patients] * n_patients, n_resamples).astype(float)


def interval(values: np.ndarray, *, level: float = 0.95) -> Interval | None:
    """(low, high) percentiles of a measure over resamples; None if too many resamples leave it undefined.

    Like every bootstrap interval it is too narrow with few patients, say fewer than 30.
    """
    values = np.asarray(values, dtype=float)
    defined = values[np.isfinite(values)]
    if len(defined) < MIN_DEFINED * len(values) or len(defined) == 0:
        return None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return low, high


def bootstrap(measure: Measure, weights: np.ndarray) -> Interval | None:
    """95 % interval of a measure under `resampled` weights; None with fewer than two patients."""
    return None if weights.shape[1] < 2 else interval(measure(weights))


def paired(a: Measure, b: Measure, n_patients: int, *, n_resamples: int = RESAMPLES, seed: int = 0) -> PairedTest:
    """Difference a − b of one measure between two systems on the same slices.

    interval: 95 %, with the same resampled patients for both systems. p: two-sided permutation test; under the null
    hypothesis the systems are exchangeable, so the scores of a patient can be swapped between them. All 2^P swaps are
    used if there are at most n_resamples, otherwise n_resamples random ones and p = (1 + hits)/(1 + n), which is never
    0. Undefined values are None.
    """
    one = np.ones((1, n_patients))
    observed = float(a(one)[0] - b(one)[0])
    if not np.isfinite(observed):
        return PairedTest(difference=None, interval=None, p=None)
    weights = resampled(n_patients, n_resamples, seed=seed)
    exact = 2**n_patients <= n_resamples
    if exact:
        own = (np.arange(2**n_patients)[:, None] >> np.arange(n_patients) & 1).astype(float)
    else:
        own = np.random.default_rng([seed, 1]).integers(0, 2, (n_resamples, n_patients)).astype(float)
    swapped = a.mixed(b, own) - a.mixed(b, 1 - own)
    swapped = swapped[np.isfinite(swapped)]
    hits = int((np.abs(swapped) >= abs(observed) - 1e-12).sum())
    return PairedTest(
        difference=observed,
        interval=None if n_patients < 2 else interval(a(weights) - b(weights)),
        p=hits / len(swapped) if exact else (1 + hits) / (1 + len(swapped)),
    )


def _form(left: np.ndarray, matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """leftᵀ M right for each row, (B,)."""
    return np.einsum("bp,bp->b", left @ matrix, right)
