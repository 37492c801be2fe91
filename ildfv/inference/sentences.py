"""Words and sentences of predictions that several outputs share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ildfv.patterns import extent_text

NOT_LABELLED = "not labelled"  # in place of the results of a pattern without labels in the training data


def answered(present: bool | None) -> str:
    """Whether a pattern is present, in words. present: None for a pattern without labels in the training data."""
    return NOT_LABELLED if present is None else "yes" if present else "no"


def sentence(note: str) -> str:
    """The note with an upper-case first letter and a full stop at its end."""
    return f"{note[:1].upper()}{note[1:].rstrip('.')}."


def no_probability(reasons: Mapping[str, str | None]) -> list[str]:
    """A sentence for each reason why patterns have no probability on the scan.

    reasons: by pattern; None if the pattern has a probability.
    """
    patterns = _by_reason(reasons).items()
    return [f"The scan has no probability of {enumerated(names)}: {reason}." for reason, names in patterns]


def _by_reason(reasons: Mapping[str, str | None]) -> dict[str, list[str]]:
    """The patterns with each reason."""
    patterns: dict[str, list[str]] = {}
    for pattern, reason in reasons.items():
        if reason is not None:
            patterns.setdefault(reason, []).append(pattern)
    return patterns


def no_area(reasons: Mapping[str, str | None]) -> list[str]:
    """A sentence for each reason why patterns have no areas. reasons: by pattern; None if the areas are known."""
    return [f"The area of {enumerated(names)} is unknown: {reason}." for reason, names in _by_reason(reasons).items()]


def present_means(extent: int | str | None, cm2: Sequence[float] | None) -> str:
    """A sentence on the extent T with which a pattern was present on a training slice; "" if it is unknown."""
    if extent is None:
        return ""
    text = f"T = {extent_text(extent)}"
    if isinstance(extent, int):
        text += " of the training scan's own grid" + ("" if cm2 is None else f", which are {_between(*cm2)} cm²")
    return (
        "A pattern counts as present if its score is like those of training slices on which it covers at least "
        f"{text}. T is not applied to the pixels of this scan."
    )


def _between(low: float, high: float) -> str:
    """Text such as "24 to 38", or "24" if both round to it."""
    return " to ".join(dict.fromkeys(f"{value:.0f}" for value in (low, high)))


def enumerated(names: Iterable[str]) -> str:
    """Text such as "a, b and c". Equal names are stated once."""
    *most, last = dict.fromkeys(names)
    return f"{', '.join(most)} and {last}" if most else last
