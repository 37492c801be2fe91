"""Assignment of patients to folds of equal size and similar content."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from ildfv.errors import check
from ildfv.evaluation.folds import Folds
from ildfv.evaluation.profiles import Profile, quantities, weights
from ildfv.evaluation.statistics import NO_LABELS
from ildfv.evaluation.stratify import partition
from ildfv.patterns import Threshold


def make_folds(
    patients: Sequence[str] | np.ndarray,
    presence: np.ndarray,
    *,
    labels: Sequence[str],
    threshold: Threshold,
    n_folds: int = 5,
    seed: int = 0,
    series: Sequence[str] | np.ndarray | None = None,
    content: np.ndarray | None = None,
) -> Folds:
    """Stratified patient-level folds, whose numbers of patients differ by at most one.

    They depend neither on the slice order nor, with `content`, on patient names.

    Parameters
    ----------
    patients : sequence of str, shape (N,)
        Patient of each slice.
    presence : array of int, shape (N, C)
        1 if the slice shows the pattern, 0 if not, −1 if unknown.
    labels : sequence of str, length C
        Names of the patterns.
    threshold : int or str
        Smallest extent of a present pattern: a number of pixels, or a percentage of the lung pixels, such as "5%". It
        is stored with the folds.
    n_folds : int
        Number of folds.
    seed : int
        Equal seeds give equal folds.
    series : sequence of str, shape (N,), optional
        Scan of each slice, to check that no scan belongs to two patients.
    content : array, shape (N, M), optional
        Numbers that describe each slice, such as its position and pixel counts. They determine the order of patients
        with equal numbers of slices and patterns, so that a seed gives the same folds for any salt of the patients'
        names. Without `content`, such patients are ordered by name.

    Returns
    -------
    Folds

    Raises
    ------
    InputError
        An array has the wrong shape or values; there is no label; there are fewer than three labelled patients; there
        are fewer than two folds or more folds than labelled patients; a fold would leave fewer than two training
        patients; or a scan belongs to two patients.
    """
    presence = np.asarray(presence)  # (N, C)
    expected = (len(patients), len(labels))
    check(presence.shape == expected, f"presence must have shape {expected}, got {presence.shape}")
    check(bool(np.isin(presence, (-1, 0, 1)).all()), "presence must be 1, 0 or −1 (unknown), got other values")
    check(n_folds >= 2, f"n_folds must be at least 2, got {n_folds}")
    if series is not None:
        check_one_patient_per_scan(patients, series)

    names, number = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    labelled = np.any(presence >= 0, axis=1)  # (N,)
    slices = np.bincount(number, weights=labelled, minlength=len(names)).astype(int)  # (P,)
    shown = np.zeros((len(names), len(labels)), dtype=int)  # (P, C)
    np.add.at(shown, number, (presence == 1) & labelled[:, None])
    found = {str(p): Profile(int(n), tuple(s.tolist())) for p, n, s in zip(names, slices, shown, strict=True) if n > 0}
    inside = _digests(names, number, content)
    order = sorted(found, key=lambda p: (-found[p].slices, found[p].patterns, inside[p], p))
    profiles = {p: found[p] for p in order}
    _check_number(n_folds, len(profiles))

    sizes = [len(profiles) // n_folds + (k < len(profiles) % n_folds) for k in range(n_folds)]
    part = partition(quantities(profiles.values()), sizes, weights=weights(len(labels)), seed=seed)
    return Folds(
        members=tuple(tuple(sorted(p for p, f in zip(profiles, part, strict=True) if f == k)) for k in range(n_folds)),
        profiles=profiles,
        labels=tuple(labels),
        unlabelled=tuple(str(p) for p, n in zip(names, slices, strict=True) if n == 0),
        seed=seed,
        threshold=threshold,
    )


def _digests(names: np.ndarray, number: np.ndarray, content: np.ndarray | None) -> dict[str, str]:
    """By patient, a hash of the content that does not depend on the slice order; "" if there is no content."""
    if content is None:
        return {str(p): "" for p in names}
    content = np.asarray(content, dtype=np.float64)
    check(
        content.ndim == 2 and len(content) == len(number),
        f"content must have shape ({len(number)}, M), got {content.shape}",
    )
    rows = content[np.lexsort((*content.T[::-1], number))]  # by patient, then by content
    parts = np.split(rows, np.cumsum(np.bincount(number, minlength=len(names)))[:-1])
    return {str(p): hashlib.sha256(part.tobytes()).hexdigest() for p, part in zip(names, parts, strict=True)}


def check_one_patient_per_scan(patients: Sequence[str] | np.ndarray, series: Sequence[str] | np.ndarray) -> None:
    """Raises InputError if a scan belongs to two patients, because it could be in training and test data.

    patients, series: patient and scan of each slice, (N,).
    """
    owner: dict[str, str] = {}
    for scan, patient in sorted(set(zip(map(str, series), map(str, patients), strict=True))):
        check(
            scan not in owner,
            f"a scan must belong to one patient, got {scan} of patients {owner.get(scan)} and {patient}",
        )
        owner[scan] = patient


def _check_number(n_folds: int, n_patients: int) -> None:
    """Raises InputError unless each fold has a patient and leaves at least two. The message suggests a valid number."""
    check(n_patients > 0, NO_LABELS)
    check(
        n_patients >= 3,
        f"there must be at least 3 patients with labels, for fitting, validation and testing, got {n_patients}: "
        "add labelled scans of more patients",
        faq="few-patients",
    )
    check(
        n_folds <= n_patients,
        f"--folds must be at most {n_patients}, the number of labelled patients, got {n_folds}: "
        f"run `ildfv folds --folds {n_patients}`",
        faq="few-patients",
    )
    largest = -(-n_patients // n_folds)
    check(
        n_patients - largest >= 2,
        f"--folds must leave at least 2 of the {n_patients} patients with labels for training, got {n_folds}: "
        f"run `ildfv folds --folds {n_patients}`",
        faq="few-patients",
    )
