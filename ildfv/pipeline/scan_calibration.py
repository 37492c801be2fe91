"""The calibration of the probability that a scan shows a pattern, from the scores of held-out scans."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ildfv.evaluation.thresholds import Sigmoid, fit_sigmoid
from ildfv.inference import schema

# Scores without any information separate m scans with the pattern from m without it with probability 1 / C(2m, m): 1 in
# 6 for two, 1 in 252 for five. Scans of one patient are not independent, so patients are counted, as for intervals.
FEWEST = 5
NOT_HIGHER = "scores of held-out scans with the pattern are not higher than those of other scans"


def scan_fields(truth: np.ndarray, scores: np.ndarray, patients: np.ndarray) -> dict[str, list]:
    """The fields `scan_sigmoids` and `no_scan_probability` of a head.

    truth: 1, 0 or −1 (unknown), (m, C). scores: of the scans, (m, C). patients: (m,).
    """
    found = [_calibrated(y, f, patients) for y, f in zip(truth.T, scores.T, strict=True)]
    return {"scan_sigmoids": [one for one, _ in found], "no_scan_probability": [reason for _, reason in found]}


def highest_of_scans(
    series: np.ndarray, presence: np.ndarray, scores: np.ndarray, patients: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(presence, highest score, patient) of each scan, from those of its slices.

    A pattern is present on a scan if it is present on any slice, and absent if it is known to be absent on all slices.
    """
    scans, first, of = np.unique(series, return_index=True, return_inverse=True)
    highest = np.full((len(scans), scores.shape[1]), -np.inf)
    np.maximum.at(highest, of, scores)
    shown, unknown = np.zeros(highest.shape, bool), np.zeros(highest.shape, bool)
    np.logical_or.at(shown, of, presence == 1)
    np.logical_or.at(unknown, of, presence < 0)
    return np.where(shown, 1, np.where(unknown, -1, 0)), highest, patients[first]


def exported_sigmoids(found: Sequence[Sigmoid | None]) -> list[schema.Sigmoid | None]:
    """The sigmoids of a predictor; None for a sigmoid that does not increase.

    A few held-out slices or scans can give a decreasing sigmoid. The probability would then contradict the presence,
    which is decided by the score.
    """
    return [
        schema.Sigmoid(slope=s.slope, intercept=s.intercept) if s is not None and s.slope > 0 else None for s in found
    ]


def _calibrated(truth: np.ndarray, scores: np.ndarray, patients: np.ndarray) -> tuple[schema.Sigmoid | None, str]:
    """(the sigmoid of one pattern or None, the reason if there is none)."""
    with_it, without = (len(set(patients[truth == value].tolist())) for value in (1, 0))
    if min(with_it, without) < FEWEST:
        return None, (
            f"calibration needs held-out scans of at least {FEWEST} patients with the pattern and {FEWEST} without it, "
            f"got {with_it} and {without}"
        )
    known = truth >= 0
    (sigmoid,) = exported_sigmoids([fit_sigmoid(truth[known], scores[known])])
    return sigmoid, "" if sigmoid else NOT_HIGHER
