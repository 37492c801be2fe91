"""Words and sentences of predictions that several outputs share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

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
    patterns: dict[str, list[str]] = {}
    for pattern, reason in reasons.items():
        if reason is not None:
            patterns.setdefault(reason, []).append(pattern)
    return [f"No probability of {enumerated(names)} on the scan: {reason}." for reason, names in patterns.items()]


def enumerated(names: Iterable[str]) -> str:
    """Text such as "a, b and c". Equal names are stated once."""
    *most, last = dict.fromkeys(names)
    return f"{', '.join(most)} and {last}" if most else last
