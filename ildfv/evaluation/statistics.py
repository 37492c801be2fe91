"""Numbers of slices and patients with each pattern, and with each combination of patterns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ildfv.errors import check
from ildfv.patterns import Threshold

NO_LABELS = "no slice has a label map: run `ildfv prepare SCANS --codes …` to read the label maps stored with the scans"


def statistics(
    presence: np.ndarray, patients: Sequence[str] | np.ndarray, *, labels: Sequence[str], threshold: Threshold
) -> dict:
    """Tables 1 and 2 of the paper for these slices, as JSON values.

    presence (N, C): 1 present, 0 absent, −1 unknown. Slices without any label are only counted as unlabelled. Slices
    with an unknown pattern are excluded from the healthy slices, from by_number and from the combinations. patients
    (N,): patient of each slice. labels: names of the C patterns. threshold: smallest extent of a present pattern,
    copied to the result.
    {"threshold", "slices", "patients", "unlabelled_slices", "unlabelled_patients",
     "per_pattern": {pattern: {"slices", "patients"}}, "healthy": {"slices", "patients"},        # Table 1
     "unlabelled_patterns": [patterns whose presence is unknown on all slices],
     "by_number": [slices with 0, 1, … C patterns],                                             # Table 2
     "combinations": [{"patterns": [...], "slices", "patients"}, …], most frequent first,
     "co_occurrence": (C, C) numbers of slices with both patterns, without slices with an unknown pattern}
    A patient is healthy if at least one slice is healthy and no slice of the patient shows a pattern. InputError:
    `presence` has another shape or other values.
    """
    presence, names = np.asarray(presence), np.asarray(patients, dtype=str)
    expected = (len(names), len(labels))
    check(presence.shape == expected, f"presence must have shape {expected}, got {presence.shape}")
    check(bool(np.isin(presence, (-1, 0, 1)).all()), "presence must be 1, 0 or −1 (unknown), got other values")
    labelled, complete = (presence >= 0).any(axis=1), (presence >= 0).all(axis=1)
    owners, found_on = names[labelled], presence[labelled] > 0
    shown, owner = presence[complete] > 0, names[complete]  # (n, C), (n,)

    def count(where: np.ndarray) -> dict[str, int]:
        return {"slices": int(where.sum()), "patients": len(np.unique(owner[where]))}

    number = shown.sum(1)
    ill = np.unique(owners[found_on.any(axis=1)])
    found, which = np.unique(shown, axis=0, return_inverse=True)
    combinations = [
        {"patterns": [p for p, on in zip(labels, row, strict=True) if on], **count(which.ravel() == i)}
        for i, row in enumerate(found)
    ]
    together = shown.astype(int)
    return {
        "threshold": threshold,
        "slices": int(labelled.sum()),
        "patients": len(np.unique(owners)),
        "unlabelled_slices": int((~labelled).sum()),
        "unlabelled_patients": len(np.setdiff1d(names[~labelled], owners)),
        "per_pattern": {
            p: {"slices": int(on.sum()), "patients": len(np.unique(owners[on]))}
            for p, on in zip(labels, found_on.T, strict=True)
        },
        "unlabelled_patterns": [p for p, column in zip(labels, presence.T, strict=True) if not (column >= 0).any()],
        "healthy": {"slices": int((number == 0).sum()), "patients": len(np.setdiff1d(owner, ill))},
        "by_number": np.bincount(number, minlength=len(labels) + 1).tolist(),
        "combinations": sorted(combinations, key=lambda c: (-c["slices"], c["patterns"])),
        "co_occurrence": (together.T @ together).tolist(),
    }
