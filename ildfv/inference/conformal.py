"""Conformal sets: for each slice and pattern the labels (absent, present) that calibration patients do not exclude.

Split conformal prediction for grouped data (HCP: Lee, Barber, Willett 2023, arXiv:2306.06342), one label at a time. Let
s be the nonconformity score of a slice for a label: −score for "present", the score for "absent". Of the K calibration
patients with a slice of that label, each has weight 1/(K + 1), divided equally among those slices, and weight 1/(K + 1)
is at infinity. A label is in the set of a new slice if its s does not exceed the `level` quantile of this distribution.

Assumption: the new patient and the calibration patients are exchangeable (drawn from the same population and scanned in
the same way), and the scores come from a model that none of them was used to fit. Then the set of a slice drawn at
random from a new patient's slices with a label includes that label with a probability of at least `level`: separately
for present and absent, and for each pattern, but on average over patients, not for every patient. Scans that differ
from the training data break the assumption.

With fewer than level/(1 − level) calibration patients, 9 for 0.9, no label can be excluded at that level, and it is in
every set.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ildfv.errors import check

LEVEL = 0.9
PRESENT, ABSENT, EITHER, NEITHER = "present", "absent", "present or absent", "unlike both"
SETS = (PRESENT, ABSENT, EITHER, NEITHER)
METHOD = "split conformal by patient and label (HCP)"


@dataclass(frozen=True)
class Conformal:
    """Limits of the sets of C patterns.

    present_from: "present" is in the set of a score ≥ this; None: of every score. absent_to: "absent" is in the set of
    a score ≤ this; None: of every score. present_patients, absent_patients: number of calibration patients with present
    and absent slices.
    """

    level: float
    present_from: tuple[float | None, ...]
    absent_to: tuple[float | None, ...]
    present_patients: tuple[int, ...]
    absent_patients: tuple[int, ...]

    @classmethod
    def fit(cls, truth: np.ndarray, scores: np.ndarray, patients: np.ndarray, *, level: float = LEVEL) -> Conformal:
        """The limits from calibration slices.

        Parameters
        ----------
        truth : ndarray of shape (N, C)
            1 present, 0 absent, −1 unknown.
        scores : ndarray of shape (N, C)
            Larger means more likely present.
        patients : ndarray of shape (N,)
            Patient of each slice; none of them was used to fit the model.
        level : float
            Coverage, in (0, 1).
        """
        truth, scores, patients = np.asarray(truth), np.asarray(scores, dtype=float), np.asarray(patients)
        check(0 < level < 1, f"level must be in (0, 1), got {level}")
        check(
            truth.ndim == 2 and truth.shape == scores.shape, f"scores must have shape {truth.shape}, got {scores.shape}"
        )
        check(patients.shape == truth.shape[:1], f"patients must have shape {truth.shape[:1]}, got {patients.shape}")
        check(bool(np.isfinite(scores).all()), "scores must be finite, got NaN or infinity")
        columns: list[list] = [[], [], [], []]
        for y, f in zip(truth.T, scores.T, strict=True):
            strangeness = [_quantile(sign * f[y == label], patients[y == label], level) for label, sign in _SIGNS]
            low, high = ((value if np.isfinite(value) else None) for value in strangeness)
            counts = [len(np.unique(patients[y == label])) for label, _ in _SIGNS]
            for column, value in zip(columns, (None if low is None else -low, high, *counts), strict=True):
                column.append(value)
        return cls(level, *(tuple(column) for column in columns))

    def possible(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Whether "present" and whether "absent" is in the set of each score, bool (m, C) each."""
        scores = np.asarray(scores, dtype=float)
        low = np.array([-np.inf if value is None else value for value in self.present_from])
        high = np.array([np.inf if value is None else value for value in self.absent_to])
        return scores >= low, scores <= high

    def sets(self, scores: np.ndarray) -> list[list[str]]:
        """The sets in words, (m, C).

        "unlike both": the score is low for slices with the pattern and high for slices without it.
        """
        present, absent = self.possible(scores)
        names = {(True, False): PRESENT, (False, True): ABSENT, (True, True): EITHER, (False, False): NEITHER}
        return [
            [names[pair] for pair in zip(*row, strict=True)]
            for row in zip(present.tolist(), absent.tolist(), strict=True)
        ]


def fewest_patients(level: float) -> int:
    """The smallest number of calibration patients with which a label can be excluded at this level."""
    return int(np.ceil(level / (1 - level) - 1e-9))


_SIGNS = ((1, -1.0), (0, 1.0))  # label, sign of its nonconformity score


def _quantile(strangeness: np.ndarray, patients: np.ndarray, level: float) -> float:
    """The smallest value up to which the weights of calibration patients sum to at least `level`; infinite if none."""
    if not len(strangeness):
        return float("inf")
    _, owner, count = np.unique(patients, return_inverse=True, return_counts=True)
    order = np.argsort(strangeness, kind="stable")
    weight = np.cumsum(1 / count[owner][order]) / (len(count) + 1)
    enough = np.flatnonzero(weight >= level - 1e-12)  # sums of 1/n have rounding errors
    return float(strangeness[order][enough[0]]) if len(enough) else float("inf")


def coverage(
    conformal: Conformal, truth: np.ndarray, scores: np.ndarray, patients: np.ndarray
) -> dict[str, np.ndarray]:
    """How often the sets of held-out slices include the true label, by pattern.

    Parameters
    ----------
    truth, scores, patients
        As for `Conformal.fit`, of other patients.

    Returns
    -------
    dict
        present, absent: mean over patients of the share of their slices with that label whose set includes it, (C,),
        NaN without such slices. present_patients, absent_patients: their number, (C,). single: share of slices whose
        set has exactly one label, (C,).
    """
    truth = np.asarray(truth)
    possible = conformal.possible(scores)
    found: dict[str, np.ndarray] = {"single": (possible[0] != possible[1]).mean(axis=0)}
    for name, included, label in (("present", possible[0], 1), ("absent", possible[1], 0)):
        means = [_by_patient(included[y == label, c], patients[y == label]) for c, y in enumerate(truth.T)]
        found[name] = np.array([values.mean() if len(values) else np.nan for values in means])
        found[f"{name}_patients"] = np.array([len(values) for values in means])
    return found


def _by_patient(values: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """Mean of the values of each patient."""
    if not len(values):
        return np.empty(0)
    _, owner = np.unique(patients, return_inverse=True)
    return np.bincount(owner, weights=values) / np.bincount(owner)
