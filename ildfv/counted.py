"""A number with its noun in the singular or plural, for messages and tables."""

from __future__ import annotations


def counted(n: int, noun: str, plural: str = "") -> str:
    """The number, with commas, and the noun: "1 slice", "1,200 slices". plural: default is the noun with an s."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"
