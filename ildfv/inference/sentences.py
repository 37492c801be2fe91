"""Notes as sentences, for texts in which a note does not follow "note: "."""

from __future__ import annotations


def sentence(note: str) -> str:
    """The note with an upper-case first letter and a full stop at its end."""
    return f"{note[:1].upper()}{note[1:].rstrip('.')}."
