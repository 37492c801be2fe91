"""Numbers with their nouns, and enumerations, for messages and tables."""

from __future__ import annotations

from collections.abc import Iterable


def counted(n: int, noun: str, plural: str = "") -> str:
    """The number, with commas, and the noun: "1 slice", "1,200 slices". plural: default is the noun with an s."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def joined(names: Iterable[str], conjunction: str = "and") -> str:
    """At least one name, as in "a, b and c"."""
    *most, last = names
    return f"{', '.join(most)} {conjunction} {last}" if most else last
