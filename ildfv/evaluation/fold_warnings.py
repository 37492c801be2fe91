"""Warnings about folds that lack a pattern, or whose inner split needs many validation patients.

The inner split of a fold divides its training patients into fit and validation patients.
"""

from __future__ import annotations

from collections.abc import Sequence

from ildfv.counted import counted
from ildfv.evaluation.folds import FRACTION, Folds
from ildfv.patterns import extent_text

InnerSplits = list[tuple[list[str], list[str]]]  # (fit patients, validation patients) of each fold


def fold_warnings(
    folds: Folds, unit: str = "slice", *, pixel_counts: bool = True, unlabelled: Sequence[str] = ()
) -> list[str]:
    """A line for each pattern that is absent from a fold, or from the fit or validation part of a fold.

    If a test fold lacks a pattern, the recall, F and AUC of the pattern are undefined there. If the validation part
    lacks it, the pattern has no decision threshold. If the fit part lacks it, the pattern cannot be learned. Patterns
    that no slice shows are listed in one line. Further lines name the folds with more validation patients than
    requested.

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
    return [*absent, *_absent_inside(folds, inner, unit), *_large_validation(inner)]


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
    """A line for each fold with more validation patients than requested."""
    return [
        f"if fold {k} is held out, {len(validation)} of its {counted(len(fit) + len(validation), 'training patient')} "
        f"are used for validation, more than {FRACTION:.0%}, so that as many patterns as possible have a decision "
        "threshold"
        for k, (fit, validation) in enumerate(inner)
        if len(validation) > max(round(FRACTION * (len(fit) + len(validation))), 1)
    ]
