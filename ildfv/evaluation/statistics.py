"""Number of slices and patients with each pattern, and with each combination of patterns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ildfv.errors import check

NO_LABELS = "no slice has a label map: run `ildfv prepare SCANS --codes …` to read label maps next to the scans"


def statistics(
    presence: np.ndarray, patients: Sequence[str] | np.ndarray, *, labels: Sequence[str], threshold: int
) -> dict:
    """Tables 1 and 2 of the paper for these slices, JSON-able.

    presence (N, C): 1 present, 0 absent, −1 no labels; slices without labels are excluded from all counts but
    their own. patients (N,): patient of each slice. labels: names of the C patterns. threshold: pixels from which a
    pattern counts as present, copied to the result.
    {"threshold", "slices", "patients", "unlabelled_slices", "unlabelled_patients",
     "per_pattern": {pattern: {"slices", "patients"}}, "healthy": {"slices", "patients"},        # Table 1
     "by_number": [slices with 0, 1, … C patterns],                                             # Table 2
     "combinations": [{"patterns": [...], "slices", "patients"}, …], most frequent first,
     "co_occurrence": (C, C) slices with both patterns; the diagonal is Table 1}
    A patient is healthy if no slice shows a pattern.
    """
    presence, names = np.asarray(presence), np.asarray(patients, dtype=str)
    expected = (len(names), len(labels))
    check(presence.shape == expected, f"presence must have shape {expected}, got {presence.shape}")
    check(bool(np.isin(presence, (-1, 0, 1)).all()), "presence must be 1, 0 or, without labels, −1")
    labelled = (presence >= 0).all(axis=1)
    shown, owner = presence[labelled] > 0, names[labelled]  # (n, C), (n,)

    def count(where: np.ndarray) -> dict[str, int]:
        return {"slices": int(where.sum()), "patients": len(np.unique(owner[where]))}

    number = shown.sum(1)
    ill = np.unique(owner[number > 0])
    found, which = np.unique(shown, axis=0, return_inverse=True)
    combinations = [
        {"patterns": [p for p, on in zip(labels, row, strict=True) if on], **count(which.ravel() == i)}
        for i, row in enumerate(found)
    ]
    together = shown.astype(int)
    return {
        "threshold": threshold,
        "slices": len(shown),
        "patients": len(np.unique(owner)),
        "unlabelled_slices": int((~labelled).sum()),
        "unlabelled_patients": len(np.setdiff1d(names[~labelled], owner)),
        "per_pattern": {p: count(shown[:, k]) for k, p in enumerate(labels)},
        "healthy": {"slices": int((number == 0).sum()), "patients": len(np.setdiff1d(owner, ill))},
        "by_number": np.bincount(number, minlength=len(labels) + 1).tolist(),
        "combinations": sorted(combinations, key=lambda c: (-c["slices"], c["patterns"])),
        "co_occurrence": (together.T @ together).tolist(),
    }
