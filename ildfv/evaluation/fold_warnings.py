"""Warnings about folds that lack a pattern, or whose inner split needs many validation patients.

The inner split of a fold divides its training patients into fit and validation patients.
"""

from __future__ import annotations

from collections.abc import Sequence

from ildfv.counted import counted, joined
from ildfv.evaluation.folds import FRACTION, Folds
from ildfv.patterns import extent_text

InnerSplits = list[tuple[list[str], list[str]]]  # (fit patients, validation patients) of each fold


def fold_warnings(
    folds: Folds, unit: str = "slice", *, pixel_counts: bool = True, unlabelled: Sequence[str] = ()
) -> list[str]:
    """A line for each pattern that is absent from a fold, or from the fit or validation part of a fold.

    If a test fold lacks a pattern, the recall, F and AUC of the pattern are undefined there. If the validation part
    lacks it, the pattern has no decision threshold. If the fit part lacks it, the pattern cannot be learned. If both
    lack it, no system can learn it, and its AUC is undefined. Patterns that no slice shows are listed in one line. A
    further line names the folds with more validation patients than requested.

    Parameters
    ----------
    folds : Folds
        The folds of a study.
    unit : {"slice", "scan"}
        What the labels describe.
    pixel_counts : bool
        Whether labels are pixel counts, to which T is applied.
    unlabelled : sequence of str
        Patterns without any label in the study.

    Raises
    ------
    InputError
        A fold has fewer than two training patients.
    """
    inner = [folds.inner_patients(k) for k in range(folds.n_folds)]
    absent = _absent(folds, unit, pixel_counts=pixel_counts, unlabelled=unlabelled)
    return [*absent, *_unlearned(folds, unit), *_absent_inside(folds, inner, unit), *_large_validation(inner)]


def _absent(folds: Folds, unit: str, *, pixel_counts: bool, unlabelled: Sequence[str]) -> list[str]:
    """A line for each pattern that is absent from a fold, and one for the patterns that no slice or scan shows."""
    lines, never, rows = [], [], folds.table()
    if unlabelled:
        lines.append(f"no {unit} has a label of {', '.join(unlabelled)}, so these are neither learned nor evaluated")
    for pattern in folds.labels:
        if pattern in unlabelled:
            continue
        empty = [str(row["fold"]) for row in rows if row["patients_with"][pattern] == 0]
        if len(empty) == folds.n_folds:
            never.append(pattern)
        elif empty:
            lines.append(f"no {unit} of fold {' or '.join(empty)} shows {pattern}: too few patients have it")
    if never:
        rule = f" (T = {extent_text(folds.threshold)})" if unit == "slice" and pixel_counts else ""
        lines.append(f"no {unit} shows {', '.join(never)}{rule}: recall, F and AUC are undefined")
    return lines


def _unlearned(folds: Folds, unit: str) -> list[str]:
    """A line for the patterns that only one fold shows, so that no training slice shows them if it is held out."""
    patterns: dict[int, list[str]] = {}
    rows = folds.table()
    for pattern in folds.labels:
        shown = [row["fold"] for row in rows if row["patients_with"][pattern] > 0]
        if len(shown) == 1:
            patterns.setdefault(shown[0], []).append(pattern)
    lines = []
    for fold, names in sorted(patterns.items()):
        them = "it" if len(names) == 1 else "them"
        lines.append(
            f"no training {unit} shows {joined(names, 'or')} if fold {fold} is held out, so no system can learn {them} "
            f"there: AUC and AP of {joined(names)} are undefined in fold {fold} and excluded from pooled results, "
            "means and comparisons"
        )
    return lines


def _absent_inside(folds: Folds, inner: InnerSplits, unit: str) -> list[str]:
    """A line for each pattern that is absent from the fit or the validation part of a fold's inner split."""

    def has(patients: list[str], number: int) -> bool:
        return any(folds.profiles[p].patterns[number] for p in patients)

    lines = []
    for number, pattern in enumerate(folds.labels):
        for side, name in enumerate(("fit", "validation")):
            without = [
                str(k) for k, parts in enumerate(inner) if not has(parts[side], number) and has(parts[1 - side], number)
            ]
            if without:
                lines.append(
                    f"no {name} {unit} shows {pattern} if fold {' or '.join(without)} is held out: too few of "
                    "the training patients have it"
                )
    return lines


def _large_validation(inner: InnerSplits) -> list[str]:
    """One line on the folds with more validation patients than requested."""
    folds: dict[tuple[int, int], list[str]] = {}
    for k, (fit, validation) in enumerate(inner):
        n = len(fit) + len(validation)
        if len(validation) > max(round(FRACTION * n), 1):
            folds.setdefault((len(validation), n), []).append(str(k))
    if not folds:
        return []
    shares = "; ".join(
        f"{used} of {counted(n, 'training patient')} if fold {' or '.join(numbers)} is held out"
        for (used, n), numbers in folds.items()
    )
    return [
        f"more than {FRACTION:.0%} of the training patients are used for validation, so that as many patterns as "
        f"possible have a decision threshold: {shares}"
    ]
