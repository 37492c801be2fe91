"""What a slice set holds: how many slices and patients show each pattern, and how many patterns meet on a slice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ildfv.errors import check
from ildfv.patterns import PATTERNS, THRESHOLD, presence


def statistics(counts: np.ndarray, patients: Sequence[str], *, threshold: int = THRESHOLD) -> dict:
    """Tables 1 and 2 of the paper for these slices, JSON-able.

    counts (N, C): pixels of each pattern, −1 without a label map; such slices are counted and otherwise left out.
    {"threshold", "slices", "patients", "unlabelled_slices", "unlabelled_patients",
     "per_pattern": {pattern: {"slices", "patients"}}, "healthy": {"slices", "patients"},        # Table 1
     "by_number": [slices with 0, 1, … C patterns],                                             # Table 2
     "combinations": [{"patterns": [...], "slices", "patients"}, …], most frequent first,
     "co_occurrence": (C, C) slices that show both; the diagonal is Table 1}
    A healthy patient is one none of whose slices shows a pattern.
    """
    counts, patients = np.asarray(counts), np.asarray(patients, dtype=str)
    expected = (len(patients), len(PATTERNS))
    check(counts.shape == expected, f"counts must have shape {expected}, got {counts.shape}")
    labelled = (counts >= 0).all(1)
    shown, owner = presence(counts[labelled], threshold) > 0, patients[labelled]  # (n, C), (n,)

    def count(where: np.ndarray) -> dict[str, int]:
        return {"slices": int(where.sum()), "patients": len(np.unique(owner[where]))}

    number = shown.sum(1)
    ill = np.unique(owner[number > 0])
    found, which = np.unique(shown, axis=0, return_inverse=True)
    combinations = [
        {"patterns": [p for p, on in zip(PATTERNS, row, strict=True) if on], **count(which.ravel() == i)}
        for i, row in enumerate(found)
    ]
    together = shown.astype(int)
    return {
        "threshold": threshold,
        "slices": len(shown),
        "patients": len(np.unique(owner)),
        "unlabelled_slices": int((~labelled).sum()),
        "unlabelled_patients": len(np.setdiff1d(patients[~labelled], owner)),
        "per_pattern": {p: count(shown[:, k]) for k, p in enumerate(PATTERNS)},
        "healthy": {"slices": int((number == 0).sum()), "patients": len(np.setdiff1d(owner, ill))},
        "by_number": np.bincount(number, minlength=len(PATTERNS) + 1).tolist(),
        "combinations": sorted(combinations, key=lambda c: (-c["slices"], c["patterns"])),
        "co_occurrence": (together.T @ together).tolist(),
    }
