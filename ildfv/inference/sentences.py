"""Words and sentences of predictions that several outputs share."""

from __future__ import annotations

from collections.abc import Iterable

NOT_LABELLED = "not labelled"  # in place of the results of a pattern without labels in the training data


def answered(present: bool | None) -> str:
    """Whether a pattern is present, in words. present: None for a pattern without labels in the training data."""
    return NOT_LABELLED if present is None else "yes" if present else "no"


def sentence(note: str) -> str:
    """The note with an upper-case first letter and a full stop at its end."""
    return f"{note[:1].upper()}{note[1:].rstrip('.')}."


def enumerated(names: Iterable[str]) -> str:
    """Text such as "a, b and c". Equal names are stated once."""
    *most, last = dict.fromkeys(names)
    return f"{', '.join(most)} and {last}" if most else last
