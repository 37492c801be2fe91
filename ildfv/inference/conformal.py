"""Conformal sets: for each slice and pattern, the labels (absent, present) that calibration patients do not exclude.

The method is split conformal prediction for grouped data (HCP: Lee, Barber, Willett 2023, arXiv:2306.06342), applied to
each label separately. The nonconformity score of a slice is −score for the label "present" and the score for the label
"absent". K calibration patients have slices with the label. Each of them has the weight 1/(K + 1), divided equally
among the patient's slices with the label. The remaining weight 1/(K + 1) is at infinity. A label is in the set of a new
slice if the slice's nonconformity score does not exceed the `level` quantile of this distribution.

Two conditions must hold: the new patient and the calibration patients are exchangeable (from the same population and
scanned in the same way), and the model was fitted without them. For a random slice of a new patient among the patient's
slices with a label, the probability that the slice's set includes this label is then at least `level`. This holds for
each label and each pattern, on average over patients, but not for every single patient. It does not hold for scans that
differ from the training data.

With fewer than level/(1 − level) calibration patients (9 patients for a level of 0.9), a label cannot be excluded and
is in every set.
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
    """The limits of the conformal sets of C patterns.

    present_from: the set of a score includes "present" if the score is at least this value; None: always. absent_to:
    the set includes "absent" if the score is at most this value; None: always. present_patients, absent_patients:
    number of calibration patients with slices that show the pattern, and with slices that do not.
    """

    level: float
    present_from: tuple[float | None, ...]
    absent_to: tuple[float | None, ...]
    present_patients: tuple[int, ...]
    absent_patients: tuple[int, ...]

    @classmethod
    def fit(cls, truth: np.ndarray, scores: np.ndarray, patients: np.ndarray, *, level: float = LEVEL) -> Conformal:
        """The limits fitted on calibration slices.

        Parameters
        ----------
        truth : ndarray of shape (N, C)
            1 present, 0 absent, −1 unknown.
        scores : ndarray of shape (N, C)
            A larger score means more likely present. Scores of slices with unknown truth are not used.
        patients : ndarray of shape (N,)
            Patient of each slice. The model must be fitted without these patients.
        level : float
            Required coverage, in (0, 1).

        Raises
        ------
        InputError
            A shape or the level is wrong, or a score with a known truth is not finite.
        """
        truth, scores, patients = np.asarray(truth), np.asarray(scores, dtype=float), np.asarray(patients)
        check(0 < level < 1, f"level must be in (0, 1), got {level}")
        check(truth.ndim == 2, f"truth must have shape (N, C), got {truth.shape}")
        check(truth.shape == scores.shape, f"scores must have shape {truth.shape}, got {scores.shape}")
        check(patients.shape == truth.shape[:1], f"patients must have shape {truth.shape[:1]}, got {patients.shape}")
        check(bool(np.isfinite(scores[truth >= 0]).all()), "scores must be finite, got NaN or infinity")
        columns: list[list] = [[], [], [], []]
        for y, f in zip(truth.T, scores.T, strict=True):
            quantiles = [_quantile(sign * f[y == label], patients[y == label], level) for label, sign in _SIGNS]
            low, high = ((value if np.isfinite(value) else None) for value in quantiles)
            counts = [len(np.unique(patients[y == label])) for label, _ in _SIGNS]
            for column, value in zip(columns, (None if low is None else -low, high, *counts), strict=True):
                column.append(value)
        return cls(level, *(tuple(column) for column in columns))

    def possible(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(whether the set of each score includes "present", whether it includes "absent"), bool (m, C) each."""
        scores = np.asarray(scores, dtype=float)
        low = np.array([-np.inf if value is None else value for value in self.present_from])
        high = np.array([np.inf if value is None else value for value in self.absent_to])
        return scores >= low, scores <= high

    def sets(self, scores: np.ndarray) -> list[list[str]]:
        """The sets in words: an element of `SETS` for each of the (m, C) scores.

        "unlike both" is the empty set: the score is too low for slices with the pattern and too high for slices
        without it.
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


def _quantile(nonconformity: np.ndarray, patients: np.ndarray, level: float) -> float:
    """The `level` quantile of the weighted nonconformity scores of calibration slices; infinity if there is none."""
    if not len(nonconformity):
        return float("inf")
    _, owner, count = np.unique(patients, return_inverse=True, return_counts=True)
    order = np.argsort(nonconformity, kind="stable")
    weight = np.cumsum(1 / count[owner][order]) / (len(count) + 1)
    enough = np.flatnonzero(weight >= level - 1e-12)  # sums of 1/n have rounding errors
    return float(nonconformity[order][enough[0]]) if len(enough) else float("inf")


def coverage(
    conformal: Conformal, truth: np.ndarray, scores: np.ndarray, patients: np.ndarray
) -> dict[str, np.ndarray]:
    """The fractions of held-out slices whose sets include the true label, by pattern.

    Parameters
    ----------
    truth, scores, patients
        As for `Conformal.fit`, for patients that were not used for calibration.

    Returns
    -------
    dict
        Arrays (C,). present, absent: the fraction of a patient's slices with this label whose sets include the label,
        averaged over patients; NaN if no patient has slices with the label. present_patients, absent_patients: number
        of patients with slices that have the label. single: fraction of slices whose set has exactly one label.
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
    """The mean of each patient's values."""
    if not len(values):
        return np.empty(0)
    _, owner = np.unique(patients, return_inverse=True)
    return np.bincount(owner, weights=values) / np.bincount(owner)
